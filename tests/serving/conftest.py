import threading

import pytest

from tests.serving.stubs import serve


@pytest.fixture
def listens():
    """Start an HTTP server of these pages, {path: JSON}, and return its port."""
    servers = []

    def start(pages, port=0):
        servers.append(serve(port, pages))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1].server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()

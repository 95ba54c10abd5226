"""The tie between the serving node and the training ones, with threads for nodes."""

import os
import sys
import threading
import time

import pytest

from axolotl_grpo_plugin.serving.nodes import gone, held, hold, tell
from axolotl_grpo_plugin.serving.server import Server
from tests.serving.test_supervisor import free_port


@pytest.fixture
def server(tmp_path):
    """A process stands for vLLM."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    made = Server(sleeps, os.environ, "127.0.0.1", 1, tmp_path / "log")
    yield made
    if made.ended() is None:
        os.kill(made.pid, 9)


class Holding(threading.Thread):
    def __init__(self, server, nodes):
        super().__init__()
        self.server, self.port, self.nodes, self.code = server, free_port(), nodes, None
        self.start()

    def run(self):
        self.code = hold(self.server, self.port, self.nodes)


def test_the_server_lives_as_long_as_all_nodes(server):
    holding = Holding(server, 2)
    first, second = held("127.0.0.1", holding.port), held("127.0.0.1", holding.port)
    tell(first, 0)
    time.sleep(0.5)
    assert holding.is_alive()
    assert not gone(second)
    tell(second, 0)
    holding.join(5)
    assert holding.code == 0


@pytest.mark.parametrize(("last", "code"), [(7, 7), (None, 1)])
def test_a_node_that_ends_badly_ends_all(server, last, code):
    holding = Holding(server, 3)
    bad, good = held("127.0.0.1", holding.port), held("127.0.0.1", holding.port)
    if last is None:
        bad.close()  # killed
    else:
        tell(bad, last)
    holding.join(5)
    assert holding.code == code
    assert gone(good)


def test_the_servers_death_ends_all(server):
    holding = Holding(server, 1)
    tie = held("127.0.0.1", holding.port)
    os.kill(server.pid, 9)
    holding.join(5)
    assert holding.code == 1
    assert gone(tie)

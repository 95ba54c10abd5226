import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

from axolotl_grpo_plugin.data import hub

NAMES = ["openai/gsm8k", "gpt2", "Qwen/Qwen2.5-1.5B-Instruct"]
PATHS = ["./models/mine", "/a/b", "~/a", "a/b/c", "s3://a/b", "rows.jsonl", "pkg://a/b", "here"]


@pytest.mark.parametrize("name", [*NAMES, *PATHS, None, "", "a b/c"])
def test_recognizes_hub_names_and_no_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert hub.is_on_hub(name) is (name in NAMES)


def test_any_reply_shows_that_the_hub_can_be_reached(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert not hub.answers.__wrapped__()
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert hub.answers.__wrapped__()  # status 501

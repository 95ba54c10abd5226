import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from axolotl_grpo_plugin import hub


@pytest.mark.parametrize("name", ["openai/gsm8k", "gpt2", "Qwen/Qwen2.5-1.5B-Instruct"])
def test_recognizes_hub_names(name):
    assert hub.is_on_hub(name)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "./models/mine",
        "/a/b",
        "~/a",
        "a/b/c",
        "s3://a/b",
        "rows.jsonl",
        "pkg://a/b",
        "here",
        "",
        "a b/c",
    ],
)
def test_paths_are_no_hub_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert not hub.is_on_hub(name)


def test_answers_says_if_the_hub_can_be_reached(monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert not hub.answers.__wrapped__()
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert hub.answers.__wrapped__()  # 501, but an answer


def test_offline_is_undone_afterwards():
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with hub.offline(not before):
        assert constants.HF_HUB_OFFLINE is not before
    assert constants.HF_HUB_OFFLINE is before

import os
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving.address import (
    Answer,
    answer,
    check_address,
    check_free,
    check_here,
    check_server,
    reserve,
    settle_address,
)
from tests.serving.stubs import VLLM, serve
from tests.serving.test_supervisor import free_port


def config(trl=(), vllm=None):
    made = {"base_model": "a-model", "trl": {"use_vllm": True, "vllm_mode": "server", **dict(trl)}}
    return made if vllm is None else {**made, "vllm": vllm}


@pytest.fixture
def listens(monkeypatch):
    """Pages -> the port of a server that answers with them."""
    opened = []

    def start(pages):
        opened.append(serve(0, pages))
        threading.Thread(target=opened[-1].serve_forever, daemon=True).start()
        return opened[-1].server_address[1]

    yield start
    for each in opened:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("trl", "vllm", "bound", "asked"),
    [
        ({}, None, ("127.0.0.1", 8000), ("127.0.0.1", 8000)),
        ({}, {"port": 8001}, ("127.0.0.1", 8001), ("127.0.0.1", 8001)),
        ({"vllm_server_port": 8001}, {}, ("127.0.0.1", 8001), ("127.0.0.1", 8001)),
        ({}, {"port": "8001"}, ("127.0.0.1", 8001), ("127.0.0.1", 8001)),
        ({}, {"host": "0.0.0.0"}, ("0.0.0.0", 8000), ("127.0.0.1", 8000)),
        ({}, {"host": "10.0.0.7"}, ("10.0.0.7", 8000), ("10.0.0.7", 8000)),
        ({"vllm_server_host": "node1"}, {"host": "0.0.0.0"}, ("0.0.0.0", 8000), ("node1", 8000)),
    ],
)
def test_server_and_trainer_get_one_address(monkeypatch, trl, vllm, bound, asked):
    monkeypatch.setenv("NO_PROXY", "a.proxy")
    monkeypatch.delenv("no_proxy", raising=False)
    cfg = config(trl, vllm)
    settle_address(cfg)
    assert (cfg["vllm"]["host"], cfg["vllm"]["port"]) == bound
    assert (cfg["trl"]["vllm_server_host"], cfg["trl"]["vllm_server_port"]) == asked
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"a.proxy,{asked[0]}"


def test_configs_without_a_server_are_unchanged():
    cfg = {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}
    settle_address(cfg)
    assert cfg == {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}


def test_refuses_two_ports():
    (found,) = check_address(config({"vllm_server_port": 8000}, {"port": 8001}))
    assert "8000, but vLLM listens on vllm.port 8001" in found.what
    elsewhere = {"vllm_server_port": 8000, "vllm_server_host": "another-machine"}
    assert not list(check_address(config(elsewhere, {"port": 8001})))


@pytest.mark.parametrize("vllm", [True, [1], "x"])
def test_reports_a_vllm_key_that_is_no_block(vllm):
    cfg = config(vllm=vllm)
    (found,) = check_address(cfg)
    assert "not a block of keys" in found.what
    settle_address(cfg)
    assert cfg["vllm"] == vllm


@pytest.mark.parametrize(
    ("trl", "vllm", "words"),
    [
        ({}, {}, None),
        ({"vllm_server_host": "10.0.0.7"}, {"host": "10.0.0.7"}, None),
        ({"vllm_server_host": "10.0.0.7"}, {"host": "0.0.0.0"}, None),
        ({"vllm_server_host": "10.0.0.7"}, {}, "the trainer asks 10.0.0.7"),
    ],
)
def test_refuses_to_start_a_server_that_nobody_asks(trl, vllm, words):
    cfg = config(trl, vllm)
    settle_address(cfg)
    assert [words in each.what for each in check_here(cfg)] == ([True] if words else [])


def test_port_is_reserved_before_the_server_listens():
    port = free_port()
    with reserve(port):
        assert not list(check_free("127.0.0.1", port))
        with pytest.raises(
            ConfigError, match=f"vllm.port .{port}.: taken by another `axolotl grpo train`"
        ):
            reserve(port)
    reserve(port).close()


def test_reads_the_servers_answer(listens):
    there = answer("0.0.0.0", listens(VLLM))
    assert (there.models, there.lengths) == (("a-model",), (64,))
    assert there.syncs and there.loads_lora
    assert answer("127.0.0.1", listens({"/": "a website"})).models == ()


@pytest.fixture
def redirects(listens):
    """The port of a server that redirects all requests to vLLM's, and the paths that it was asked for."""
    asked = []
    there = listens(VLLM)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{there}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def test_a_redirect_is_not_followed(redirects):
    port, asked = redirects
    assert answer("127.0.0.1", port) == Answer()
    assert asked == ["/v1/models"]


def test_no_proxy_is_asked(redirects, listens, monkeypatch):
    port, asked = redirects
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert answer("127.0.0.1", listens(VLLM)).models == ("a-model",)
    assert asked == []


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{",
    ],
    ids=["silence, then drips", "drips a header", "drips a body", "drips a body without length"],
)
def test_a_server_that_drips_bytes_holds_no_longer_than_the_limit(start):
    over = threading.Event()

    def drip(listening):
        with suppress(OSError):
            while not over.is_set():
                opened, _ = listening.accept()
                threading.Thread(target=pour, args=(opened,), daemon=True).start()

    def pour(opened):
        with suppress(OSError), opened:
            opened.sendall(start)
            while not over.wait(0.05):
                opened.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        started = time.monotonic()
        assert answer("127.0.0.1", listening.getsockname()[1], patience=0.5) == Answer()
        assert time.monotonic() - started < 2
        over.set()


@pytest.mark.parametrize(
    "pages",
    [
        {"/v1/models": {"data": ["a"]}},
        {"/v1/models": {"data": []}},
        {"/v1/models": ["a"]},
        {"/v1/models": {"data": {"id": "a"}}},
    ],
)
def test_other_json_is_not_vllm(listens, pages):
    assert answer("127.0.0.1", listens(pages)) == Answer()


def test_routes_of_another_form_are_none(listens):
    there = answer("127.0.0.1", listens({**VLLM, "/openapi.json": {"paths": 7}}))
    assert there.models == ("a-model",) and not there.syncs


@pytest.mark.parametrize(
    ("mode", "host", "warned"),
    [
        ("server", "0.0.0.0", True),
        ("server", "::", True),
        ("server", "127.0.0.1", False),
        ("server", "10.0.0.7", False),
        ("server", None, False),
        ("colocate", "0.0.0.0", False),
    ],
)
def test_warns_of_a_server_on_all_networks(mode, host, warned):
    found = list(check_address(config({"vllm_mode": mode}, {"host": host})))
    assert [each.level for each in found] == ["warning"] * warned
    if warned:
        assert f"vllm.host ({host}): vLLM's server, which has no login, listens on" in str(found[0])
        assert "Set it to 127.0.0.1, or for several nodes to the private address" in found[0].fix


def test_reports_who_has_the_port(listens):
    port = listens(VLLM)
    assert not list(check_free("127.0.0.1", 0))
    (found,) = check_free("127.0.0.1", port)
    assert "taken by a vLLM server of a-model (process " in found.what
    assert f"process {os.getpid()}" in found.what


PLAIN = {**VLLM, "/openapi.json": {"paths": {}}}
STALE = {**VLLM, "/v1/models": {"data": [{"id": "a-model"}, {"id": "a-model-v7"}]}}


@pytest.mark.parametrize(
    ("pages", "trl", "vllm", "words"),
    [
        (VLLM, {"vllm_lora_sync": True}, {"max_model_len": 64}, []),
        ({"/health": {}}, {}, {}, ["another service answers, not vLLM"]),
        ({**VLLM, "/v1/models": {"data": [{"id": "b"}]}}, {}, {}, ["serves b, not a-model"]),
        (STALE, {}, {}, ["holds adapters of an earlier run (a-model-v7)"]),
        (PLAIN, {}, {}, ["takes no weights"]),
        (PLAIN, {"vllm_lora_sync": True}, {}, ["takes no weights", "loads no adapters"]),
        (VLLM, {}, {"max_model_len": 65}, ["takes 64 tokens, and vllm.max_model_len is 65"]),
    ],
)
def test_checks_that_the_server_fits_the_config(listens, pages, trl, vllm, words):
    cfg = config(trl, {**vllm, "port": listens(pages)})
    cfg["axolotl_config_path"] = "my.yaml"
    settle_address(cfg)
    found = list(check_server(cfg))
    assert len(found) == len(words)
    for each, word in zip(found, words, strict=True):
        assert word in each.what
        assert "`axolotl grpo train my.yaml`" in each.fix


def test_names_the_command_if_nobody_answers():
    cfg = {**config(vllm={"port": 9}), "axolotl_config_path": "my.yaml"}
    settle_address(cfg)
    (found,) = check_server(cfg)
    assert str(found) == (
        "my.yaml: trl.vllm_server_host (127.0.0.1:9): no vLLM server answers. "
        "`axolotl grpo train my.yaml` starts vLLM and trains."
    )

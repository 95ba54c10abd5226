import os
import threading

import pytest

from axolotl_grpo_plugin.checks import ConfigError
from axolotl_grpo_plugin.serving.address import (
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
        assert "`axolotl grpo train my.yaml`" in each.mend


def test_names_the_command_if_nobody_answers():
    cfg = {**config(vllm={"port": 9}), "axolotl_config_path": "my.yaml"}
    settle_address(cfg)
    (found,) = check_server(cfg)
    assert str(found) == (
        "my.yaml: trl.vllm_server_host (127.0.0.1:9): no vLLM server answers. "
        "`axolotl grpo train my.yaml` starts vLLM and trains."
    )

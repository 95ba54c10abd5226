import os
import socket

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.serving.address import (
    ServerInfo,
    check_address,
    check_free,
    check_here,
    check_server,
    reserve,
    server_info,
    settle_address,
)
from tests.serving.stubs import VLLM, free_port


def config(trl=(), vllm=None):
    cfg = {"base_model": "a-model", "trl": {"use_vllm": True, "vllm_mode": "server", **dict(trl)}}
    return cfg if vllm is None else {**cfg, "vllm": vllm}


@pytest.mark.parametrize(
    "trl, vllm, listens_on, connects_to",
    [
        ("", None, "127.0.0.1:8000", "127.0.0.1:8000"),
        ("", {"port": 8001}, "127.0.0.1:8001", "127.0.0.1:8001"),
        ("vllm_server_port: 8001", {}, "127.0.0.1:8001", "127.0.0.1:8001"),
        ("", {"port": "8001"}, "127.0.0.1:8001", "127.0.0.1:8001"),
        ("", {"host": "0.0.0.0"}, "0.0.0.0:8000", "127.0.0.1:8000"),
        ("", {"host": "10.0.0.7"}, "10.0.0.7:8000", "10.0.0.7:8000"),
        ("vllm_server_host: node1", {"host": "0.0.0.0"}, "0.0.0.0:8000", "node1:8000"),
    ],
)
def test_server_and_trainer_get_one_address(monkeypatch, trl, vllm, listens_on, connects_to):
    trl = yaml.safe_load(trl) or {}
    monkeypatch.setenv("NO_PROXY", "a.proxy")
    monkeypatch.delenv("no_proxy", raising=False)
    cfg = config(trl, vllm)
    settle_address(Config(cfg))
    trl, vllm = cfg["trl"], cfg["vllm"]
    assert f"{vllm['host']}:{vllm['port']}" == listens_on
    assert f"{trl['vllm_server_host']}:{trl['vllm_server_port']}" == connects_to
    assert os.environ["NO_PROXY"] == f"a.proxy,{trl['vllm_server_host']}"


def test_configs_without_a_server_are_unchanged():
    cfg = {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}
    settle_address(Config(cfg))
    assert cfg == {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}


@pytest.mark.parametrize(
    "trl, vllm, codes",
    [
        ("", {"host": "127.0.0.1"}, []),
        ("", {"host": "10.0.0.7"}, []),
        ("", {"host": "0.0.0.0"}, ["open-to-all"]),
        ("", {"host": "::"}, ["open-to-all"]),
        ("vllm_mode: colocate", {"host": "0.0.0.0"}, []),
        ("vllm_server_port: 8000", {"port": 8001}, ["two-ports"]),
        ("{vllm_server_port: 8000, vllm_server_host: node1}", {"port": 8001}, []),
        ("", True, ["no-mapping"]),
    ],
)
def test_reports_hosts_and_ports_that_cannot_be_meant(trl, vllm, codes):
    trl = yaml.safe_load(trl) or {}
    assert [finding.code for finding in check_address(Config(config(trl, vllm)))] == codes


@pytest.mark.parametrize(
    "trl, vllm, faults",
    [
        ({}, {}, 0),
        ({"vllm_server_host": "10.0.0.7"}, {"host": "10.0.0.7"}, 0),
        ({"vllm_server_host": "10.0.0.7"}, {"host": "0.0.0.0"}, 0),
        ({"vllm_server_host": "10.0.0.7"}, {}, 1),
    ],
)
def test_refuses_to_start_a_server_that_the_trainer_would_not_use(trl, vllm, faults):
    cfg = config(trl, vllm)
    settle_address(Config(cfg))
    assert len(list(check_here(Config(cfg)))) == faults


def test_port_is_reserved_before_the_server_listens():
    port = free_port()
    with reserve(port):
        assert not list(check_free("127.0.0.1", port))
        with pytest.raises(FindingError, match="taken by another `axolotl-grpo train`"):
            reserve(port)
    reserve(port).close()


def test_reports_what_uses_the_port(listens):
    port = listens(VLLM)
    (finding,) = check_free("127.0.0.1", port)
    assert "taken by a vLLM server of a-model" in finding.what


def test_reads_models_lengths_and_routes_of_a_server(listens):
    expected = ServerInfo(("a-model",), (64,), syncs=True, loads_lora=True)
    assert server_info("0.0.0.0", listens(VLLM)) == expected


@pytest.mark.parametrize("page", [None, ["a"], {"data": ["a"]}, {"data": []}, {"data": {"id": "a"}}])
def test_other_services_are_not_vllm(listens, page):
    assert server_info("127.0.0.1", listens({"/v1/models": page})) == ServerInfo()


def test_a_silent_service_delays_no_longer_than_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert server_info("127.0.0.1", port, timeout=0.2) == ServerInfo()


def test_requests_use_no_proxy(listens, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert server_info("127.0.0.1", listens(VLLM)).models == ("a-model",)


PLAIN = {**VLLM, "/openapi.json": {"paths": {}}}
STALE = {**VLLM, "/v1/models": {"data": [{"id": "a-model"}, {"id": "a-model-v7"}]}}


@pytest.mark.parametrize(
    "pages, trl, vllm, codes",
    [
        (VLLM, {"vllm_lora_sync": True}, {"max_model_len": 64}, []),
        ({"/health": {}}, {}, {}, ["another-service"]),
        ({**VLLM, "/v1/models": {"data": [{"id": "b"}]}}, {}, {}, ["other-model"]),
        (STALE, {}, {}, ["old-adapters"]),
        (PLAIN, {}, {}, ["no-sync"]),
        (PLAIN, {"vllm_lora_sync": True}, {}, ["no-sync", "no-adapters"]),
        (VLLM, {}, {"max_model_len": 65}, ["short"]),
    ],
)
def test_checks_that_the_server_fits_the_config(listens, pages, trl, vllm, codes):
    cfg = config(trl, {**vllm, "port": listens(pages)})
    settle_address(Config(cfg))
    assert [finding.code for finding in check_server(Config(cfg))] == codes

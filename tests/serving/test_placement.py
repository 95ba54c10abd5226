from pathlib import Path

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.serving import placement
from axolotl_grpo_plugin.serving.placement import mode_of, place, visible_gpus
from tests.conftest import refused, script

SERVER = {"trl": {"use_vllm": True, "vllm_mode": "server"}}
COLOCATE = {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}


EIGHT = "0 1 2 3 4 5 6 7"


@pytest.mark.parametrize(
    "cfg, gpus, processes, serve, train",
    [
        (SERVER, "0 1", None, "1", "0"),
        (SERVER, "0 1 2 3", None, "3", "0 1 2"),  # X-R1
        (SERVER, EIGHT, None, "7", "0 1 2 3 4 5 6"),  # xLR
        (SERVER, EIGHT, 4, "7", "0 1 2 3"),
        (SERVER, "4 6", None, "6", "4"),
        (SERVER, "", None, "", ""),
        ({**SERVER, "vllm": {"tensor_parallel_size": 2, "data_parallel_size": 2}}, EIGHT, None, "4 5 6 7", "0 1 2 3"),
        # pydantic accepts text
        ({**SERVER, "vllm": {"tensor_parallel_size": "2"}}, "0 1 2 3", None, "2 3", "0 1"),
        (COLOCATE, "0 1", None, "", "0 1"),
        ({"trl": {}}, "0", None, "", "0"),
        ({}, "", None, "", ""),
    ],
)
def test_last_gpus_serve_and_first_gpus_train(cfg, gpus, processes, serve, train):
    placed = place(Config(cfg), gpus.split(), processes)
    assert [*placed.serve] == serve.split() and [*placed.train] == train.split()
    assert placed.processes == max(len(placed.train), 1)


@pytest.mark.parametrize(
    "cfg, gpus, processes",
    [(SERVER, 1, None), (SERVER, 4, 4), ({**SERVER, "vllm": {"tensor_parallel_size": 4}}, 4, None), (COLOCATE, 1, 2)],
)
def test_refuses_too_few_gpus(cfg, gpus, processes):
    with refused("too-few-gpus"):
        place(Config(cfg), EIGHT.split()[:gpus], processes)


def test_default_mode_is_axolotls():
    assert mode_of(Config({"trl": {"use_vllm": True}})) == "server"
    assert mode_of(Config({"trl": {"use_vllm": "false"}})) == "none"


@pytest.mark.parametrize(
    "value, expected",
    [("0,2", ["0", "2"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("GPU-8a5f, 1", ["GPU-8a5f", "1"])],
)
def test_reads_cuda_visible_devices(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == expected


@pytest.fixture
def smi(monkeypatch, tmp_path):
    """Return a function that replaces nvidia-smi by a script, because this machine may have no GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(placement, "DEVICES", (str(tmp_path / "nvidia0"),))
    monkeypatch.setattr(placement, "_SECONDS", 0.5)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return lambda lines: script(tmp_path / "nvidia-smi", lines)


def test_counts_gpus_with_nvidia_smi(smi):
    smi("printf '0\\n1\\n'")
    assert visible_gpus() == ["0", "1"]
    smi("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert visible_gpus() == []
    Path(placement.DEVICES[0]).touch()
    with refused("uncounted-gpus", "Driver/library version mismatch"):
        visible_gpus()


def test_hanging_nvidia_smi_is_an_error(smi):
    smi("sleep 60")
    with refused("uncounted-gpus", "no answer within"):
        visible_gpus()

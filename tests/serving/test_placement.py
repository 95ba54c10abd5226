import pytest

from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving import placement
from axolotl_grpo_plugin.serving.placement import Placement, mode_of, place, visible_gpus

SERVER = {"trl": {"use_vllm": True, "vllm_mode": "server"}}
COLOCATE = {"trl": {"use_vllm": True, "vllm_mode": "colocate"}}


def ids(number):
    return [str(each) for each in range(number)]


@pytest.mark.parametrize(
    ("cfg", "gpus", "processes", "expected"),
    [
        (SERVER, ids(2), None, Placement("server", ("1",), ("0",), 1)),
        (SERVER, ids(4), None, Placement("server", ("3",), ("0", "1", "2"), 3)),  # X-R1
        (SERVER, ids(8), None, Placement("server", ("7",), tuple(ids(7)), 7)),  # xLR
        (SERVER, ids(8), 4, Placement("server", ("7",), tuple(ids(4)), 4)),
        (SERVER, ["4", "6"], None, Placement("server", ("6",), ("4",), 1)),
        (SERVER, [], None, Placement("server", (), (), 1)),
        (
            {**SERVER, "vllm": {"tensor_parallel_size": 2, "data_parallel_size": 2}},
            ids(8),
            None,
            Placement("server", ("4", "5", "6", "7"), ("0", "1", "2", "3"), 4),
        ),
        (
            {**SERVER, "vllm": {"tensor_parallel_size": "2"}},  # pydantic accepts text
            ids(4),
            None,
            Placement("server", ("2", "3"), ("0", "1"), 2),
        ),
        (COLOCATE, ids(2), None, Placement("colocate", (), ("0", "1"), 2)),
        ({"trl": {}}, ids(1), None, Placement("none", (), ("0",), 1)),
        ({}, [], None, Placement("none", (), (), 1)),
    ],
)
def test_last_gpus_serve_and_first_gpus_train(cfg, gpus, processes, expected):
    assert place(cfg, gpus, processes) == expected


@pytest.mark.parametrize(
    ("cfg", "gpus", "processes", "words"),
    [
        (SERVER, ids(1), None, r"2 GPUs \(1 for .*, and 1 is visible.* trl.vllm_mode: colocate"),
        (SERVER, ids(4), 4, r"5 GPUs \(1 for vLLM, 4 for the trainer\), and 4 are visible"),
        ({**SERVER, "vllm": {"tensor_parallel_size": 4}}, ids(4), None, "4 for vLLM, 1 for the"),
        (COLOCATE, ids(1), 2, "--num-processes: .* lower --num-processes"),
    ],
)
def test_refuses_too_few_gpus(cfg, gpus, processes, words):
    with pytest.raises(ConfigError, match=words):
        place(cfg, gpus, processes)


def test_default_mode_is_axolotls():
    assert mode_of({"trl": {"use_vllm": True}}) == "server"
    assert mode_of({"trl": {"use_vllm": "false"}}) == "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0,2", ["0", "2"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("GPU-8a5f, 1", ["GPU-8a5f", "1"])],
)
def test_reads_cuda_visible_devices(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == expected


def test_counts_gpus_with_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"  # a stand-in, because this machine may have no GPU
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == ["0", "1"]
    tool.unlink()
    monkeypatch.setattr(placement, "DEVICES", (str(tmp_path / "nvidia0"),))
    assert visible_gpus() == []
    (tmp_path / "nvidia0").touch()
    with pytest.raises(ConfigError, match="nvidia-smi cannot count the GPUs"):
        visible_gpus()

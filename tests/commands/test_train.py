"""What `axolotl grpo train` is told on the command line. Axolotl's parser needs its own import: tests/e2e."""

import pytest

from axolotl_grpo_plugin.commands import train as command
from axolotl_grpo_plugin.commands.train import _check_vllm, check_gpus, check_words, processes_of
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving.plan import Call

SERVER = {"trl": {"use_vllm": True, "vllm_mode": "server"}}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--num-processes=3"], 3),
        (["--x", "1", "--num_processes", "2"], 2),
        (["--nproc-per-node", "gpu"], None),
        (["--main_process_port", "29501"], None),
        ([], None),
    ],
)
def test_reads_the_number_of_processes(words, expected):
    assert processes_of(words) == expected


@pytest.mark.parametrize("words", [["--num-processes"], ["--num-processes=0"], ["--num-processes", "x"]])
def test_refuses_a_number_of_processes_that_is_none(words):
    with pytest.raises(ConfigError, match="is not a number of processes"):
        processes_of(words)


@pytest.mark.parametrize(
    ("cfg", "call", "canary", "expected"),
    [
        (SERVER, {}, True, []),
        (SERVER, {"typed": ["--max-steps", "3"]}, False, []),
        ({"trl": {}}, {}, True, ["--canary"]),
        ({"trl": {}}, {"typed": ["--sweep", "s.yaml"]}, False, []),
        ({"trl": {}}, {"typed": ["--grpo-rollouts", "true"]}, False, ["--grpo-rollouts"]),
        (SERVER, {"typed": ["--sweep", "s.yaml"]}, False, ["--sweep"]),
        (SERVER, {"after": ["--gpu_ids", "1"]}, False, ["--gpu_ids"]),
        (SERVER, {"launcher": "torchrun", "typed": ["--num-processes", "2"]}, False, ["--num-processes"]),
        ({**SERVER, "vllm": {"serve_module": "m"}}, {}, False, ["vllm.serve_module"]),
        ({**SERVER, "deepspeed": "zero3.json"}, {}, True, ["--canary"]),
        ({**SERVER, "deepspeed": "zero3.json"}, {}, False, []),
    ],
)
def test_refuses_options_that_cannot_work(monkeypatch, cfg, call, canary, expected):
    monkeypatch.delenv("SLURM_NNODES", raising=False)
    words = {"launcher": "accelerate", "typed": [], "after": [], **call}
    made = Call("c.yaml", words["launcher"], words["typed"], {}, words["after"], None)
    assert [each.where for each in check_words(made, cfg, canary)] == expected


def test_refuses_a_key_of_the_plugin_before_the_config_is_read():
    with pytest.raises(ConfigError, match="--grpo-rollouts: no option"):
        command.run("none.yaml", ["--grpo-rollouts=true"], [], dry_run=False, gpus=None, canary=False)


@pytest.mark.parametrize(
    ("host", "gpus", "expected"), [("0.0.0.0", 12, ["--gpus"]), ("0.0.0.0", None, []), ("127.0.0.1", 12, [])]
)
def test_refuses_to_plan_several_nodes_as_one_machine(monkeypatch, host, gpus, expected):
    monkeypatch.delenv("SLURM_NNODES", raising=False)
    cfg = {**SERVER, "vllm": {"host": host}}
    assert [each.where for each in check_gpus(cfg, gpus)] == expected


@pytest.mark.parametrize(
    ("there", "gpus", "words"),
    [
        ("0.30.0", ["0", "1"], None),
        ("0.30.0+cpu", [], None),
        ("0.30.0", [], "no GPU is visible, and vLLM 0.30.0 serves on GPUs"),
    ],
)
def test_reports_a_vllm_that_cannot_serve_here(monkeypatch, there, gpus, words):
    monkeypatch.setattr(command, "version", lambda _: there)
    assert [each.what for each in _check_vllm(SERVER, gpus)] == ([words] if words else [])

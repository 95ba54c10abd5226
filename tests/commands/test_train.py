"""What `axolotl-grpo train` is told on the command line. Axolotl's parser needs its own import: tests/e2e."""

import json

import pytest

from axolotl_grpo_plugin.checks.table import Facts
from axolotl_grpo_plugin.commands import check as check_command
from axolotl_grpo_plugin.commands import train as command
from axolotl_grpo_plugin.commands.check import check, machine_of
from axolotl_grpo_plugin.commands.train import _check_vllm, check_processes, check_words, processes_of
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.serving.plan import CommandLine
from tests.conftest import ROOT, codes, program

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
    with pytest.raises(FindingError, match="is not a number of processes"):
        processes_of(words)


@pytest.mark.parametrize(
    ("cfg", "words", "expected"),
    [
        (SERVER, "--max-steps 3", []),
        ({"trl": {}}, "--sweep s.yaml", []),
        (SERVER, "--sweep s.yaml", ["--sweep"]),
        (SERVER, "--gpu-ids 1", ["--gpu_ids"]),
        (SERVER, "--launcher torchrun --num-processes 2", ["--num-processes"]),
        ({**SERVER, "vllm": {"serve_module": "m"}}, "", ["vllm.serve_module"]),
        ({"use_ray": True}, "", []),
        ({**SERVER, "use_ray": True}, "", ["use_ray"]),
    ],
)
def test_refuses_options_that_cannot_work(cfg, words, expected):
    launcher = "torchrun" if "torchrun" in words else "accelerate"
    call = CommandLine("c.yaml", launcher, words.split(), {}, [], None)
    assert [finding.where for finding in check_words(call, Config(cfg), None)] == expected


@pytest.mark.parametrize(
    ("launcher", "gpus", "codes"),
    [("accelerate", [], ["one-process-on-cpu"]), ("accelerate", ["0", "1"], []), ("torchrun", [], [])],
)
def test_refuses_processes_that_accelerate_does_not_start(launcher, gpus, codes):
    call = CommandLine("c.yaml", launcher, [], {}, [], 2)
    assert [finding.code for finding in check_processes(call, gpus, None)] == codes


def test_refuses_a_key_of_the_plugin_before_the_config_is_read():
    with pytest.raises(FindingError, match="--grpo-rollouts: no option"):
        command.run("none.yaml", ["--grpo-rollouts=true"], [], dry_run=False, gpus=None)


@pytest.mark.parametrize(
    ("there", "gpus", "faults"), [("0.30.0", ["0", "1"], 0), ("0.30.0+cpu", [], 0), ("0.30.0", [], 1)]
)
def test_reports_a_vllm_that_cannot_serve_here(monkeypatch, there, gpus, faults):
    monkeypatch.setattr(command, "version", lambda _: there)
    assert len(list(_check_vllm(Config(SERVER), gpus))) == faults


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"trl": {"min_p": 2}}, "out-of-range"),
        ({"output_dir": __file__}, "output-is-file"),
        ({"datasets": [{"path": "none.jsonl", "ds_type": "json", "type": "axolotl_grpo_plugin.gsm8k"}]}, "wrong-file"),
    ],
)
def test_reports_mistakes_before_anything_slow_is_imported(tmp_path, changes, code):
    config = {"rl": "grpo", "plugins": ["axolotl_grpo_plugin.GRPOPlugin"], **changes}
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(config))
    with pytest.raises(FindingError) as error:
        command.run(str(file), [], [], dry_run=False, gpus=None)
    assert code in codes(error)


@pytest.mark.parametrize(("changes", "code"), [({"plugins": []}, "no-plugin"), ({"rl": "dpo"}, "not-grpo")])
def test_check_and_train_refuse_the_same(tmp_path, changes, code):
    config = {"rl": "grpo", "plugins": ["axolotl_grpo_plugin.GRPOPlugin"], **changes}
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(config))
    found = check(str(file), machine_of(0, None, None), offline=True).findings
    assert code in [finding.code for finding in found if finding.level == "error"]
    with pytest.raises(FindingError) as error:
        command.run(str(file), [], [], dry_run=True, gpus=0)
    assert code in codes(error)


def test_dry_run_imports_neither_torch_nor_axolotl():
    run = f"train.run({str(ROOT / 'configs/quickstart.yaml')!r}, [], [], dry_run=True, gpus=0, as_json=True)"
    code = f"import sys; from axolotl_grpo_plugin.commands import train; {run}"
    code += "; assert not {'torch', 'trl', 'datasets', 'axolotl.utils.schemas'} & sys.modules.keys()"
    assert json.loads(program(code, cwd=ROOT))[-1]["command"].startswith("axolotl train ")


def test_gpus_need_a_dry_run():
    with pytest.raises(FindingError, match=r"only with --dry-run\. Add --dry-run\. A training takes the GPUs in CUDA_"):
        command.run("none.yaml", [], [], dry_run=False, gpus=2)


@pytest.mark.parametrize("typed", [["--max-steps=3"], ["--use-ray", "--max-steps=3"]])
def test_a_config_for_ray_continues_as_axolotl_train(monkeypatch, capsys, typed):
    """Without --use-ray, Axolotl 0.21 starts a driver for each GPU of this machine."""
    config = str(ROOT / "configs/multinode/qwen2.5-7b-lora-ray.yaml")
    words = ["train", config, *typed]
    if "--use-ray" not in typed:
        words.append("--use-ray")
    assert command.run(config, typed, [], dry_run=True, gpus=None) == 0
    assert capsys.readouterr().out == f"axolotl {' '.join(words)}\n"

    called = []
    monkeypatch.setattr(command, "errors", lambda *_: [])  # its model is not here
    monkeypatch.setattr(command.os, "execve", lambda *given: called.append(given[1][3:]))
    command.run(config, typed, [], dry_run=False, gpus=None)
    assert called == [words]


SLURM = str(ROOT / "configs/dispatch/qwen2.5-7b-slurm.yaml")
IDLE = "vllm: vLLM leaves 4 of the first node's 8 GPUs idle. Raise vllm.data_parallel_size, "


def test_idle_gpus_of_the_serving_node_are_named(job, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_NODEID", "0")
    assert command.run(SLURM, [], [], dry_run=True, gpus=8) == 0
    assert IDLE in capsys.readouterr().err


def test_other_nodes_do_not_repeat_the_plan(job, capsys):
    assert command.run(SLURM, [], [], dry_run=True, gpus=8) == 0
    assert capsys.readouterr() == ("", "")


def test_plans_nodes_on_a_laptop(capsys):
    assert command.run(SLURM, [], [], dry_run=True, gpus=8, nodes=2) == 0
    printed, errors = capsys.readouterr()
    first, second = printed.splitlines()
    assert first.startswith("node1: CUDA_VISIBLE_DEVICES=4,5,6,7 axolotl vllm-serve ")
    assert second.startswith("node2: CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 axolotl train ")
    assert IDLE in errors


def test_nodes_need_a_dry_run():
    with pytest.raises(FindingError, match=r"--nodes: these options work only with --dry-run\."):
        command.run("none.yaml", [], [], dry_run=False, gpus=None, nodes=2)


@pytest.mark.parametrize(
    ("count", "typed", "resumes"),
    [
        ("", [], 0),
        ("0", [], 0),
        ("1", [], 1),
        ("2", ["--max-steps", "3"], 1),
        ("1", ["--auto-resume-from-checkpoints"], 1),
    ],
)
def test_job_that_slurm_starts_again_resumes(monkeypatch, capsys, count, typed, resumes):
    """Slurm itself starts a job again whose node has failed, and a preempted one."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    command.run(str(ROOT / "configs/quickstart.yaml"), typed, [], dry_run=True, gpus=0)
    assert capsys.readouterr().out.count("--auto-resume-from-checkpoints") == resumes


@pytest.mark.parametrize(
    ("config", "nodes", "gpus", "placement", "found"),
    [
        ("dispatch/qwen2.5-7b-slurm", 3, 4, ["vLLM on GPU 0, 1, 2, 3", *["4 processes on GPU 0, 1, 2, 3"] * 2], []),
        (
            "dispatch/qwen2.5-7b-slurm",
            2,
            5,
            ["vLLM on GPU 1, 2, 3, 4", "5 processes on GPU 0, 1, 2, 3, 4"],
            ["idle-gpus"],
        ),
        ("multinode/qwen2.5-7b-lora-ray", 2, 1, ["1 process on GPU 0; vLLM on the same"] * 2, []),
        ("quickstart", 2, 0, ["CPU, 1 process"] * 2, []),
        ("dispatch/qwen2.5-7b-slurm", 3, 2, [], ["too-few-gpus"]),
        ("math/qwen2.5-7b-zero-8gpu", 2, 8, [], ["local-server"]),
    ],
)
def test_check_shows_the_plan_of_each_node(config, nodes, gpus, placement, found):
    facts = Facts(read_config(str(ROOT / f"configs/{config}.yaml")))
    checked = check_command.Checked(config)
    check_command._place(facts, checked, machine_of(gpus, None, None, nodes))
    lines = [f"node{number}: {text}" for number, text in enumerate(placement, 1)]
    assert checked.placement.splitlines() == lines
    assert [finding.code for finding in checked.findings] == found


def test_ranks_of_all_nodes_share_the_memory():
    facts = Facts(read_config(SLURM))
    check_command._place(facts, check_command.Checked(SLURM), machine_of(4, 80, None, 3))
    assert facts.ranks == 8
    assert facts.memory.model == pytest.approx(16 * 7_615_616_512 / 8 / 2**30)

"""Trainings on a real Slurm cluster: `sbatch configs/multinode/slurm.sbatch CONFIG` on nodes without GPUs.

`pytest -m slow tests/e2e/engines/test_slurm.py`, as root. Slurm's packages come from apt. On two free cores: about 10 minutes.
"""

import os
import re

import pytest
import yaml
from safetensors.torch import load_file

from axolotl_grpo_plugin.training.record import facts
from tests.conftest import MODEL
from tests.e2e.conftest import ROOT, rollouts, shipped_config
from tests.e2e.engines import slurm
from tests.e2e.engines.slurm import HEAD, Cluster, until

SCRIPT = ROOT / "configs" / "multinode" / "slurm.sbatch"
# The script's requests are for nodes with GPUs.
REQUESTS = ["--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=60"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory):
    """Three nodes. The parameter is Slurm's way to find the processes of a job."""
    if reason := slurm.missing():
        pytest.skip(reason)
    proctrack = getattr(request, "param", "cgroup" if slurm.FREEZER.exists() else "linuxproc")
    if proctrack == "cgroup" and not slurm.FREEZER.exists():
        pytest.skip("Slurm of Debian 12 needs cgroup v1 for proctrack/cgroup")
    cluster = Cluster(tmp_path_factory.mktemp(proctrack), 3, proctrack)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Training:
    """A job that trains a small config of its own for at most 500 steps, with a checkpoint every two steps."""

    def __init__(self, cluster, folder, *words, requests=(), env=None, **changes):
        self.out = folder / "out"
        changes = {"save_strategy": "steps", **changes}
        config = shipped_config(grpo_held_out_rows=None, test_datasets=None, max_steps=500, **changes)
        config |= {"output_dir": "out", "grpo_show_steps": 0}
        if config["save_strategy"] == "steps":
            config["save_steps"] = 2
        (folder / "config.yaml").write_text(
            yaml.safe_dump({key: value for key, value in config.items() if value is not None})
        )
        self.words = ["config.yaml", *words]
        self.job = cluster.submit(SCRIPT, [*REQUESTS, *requests], self.words, cwd=folder, env=env)

    def has_checkpoint(self, step):
        return (self.out / f"checkpoint-{step}" / "trainer_state.json").exists()

    def until_checkpoint(self, step):
        self.job.until(lambda: self.has_checkpoint(step))


@pytest.fixture
def train(cluster, request):
    """Start a training, in a folder that all nodes see. It is cancelled after the test."""
    started = []

    def start(*words, **more):
        folder = cluster.folder / f"{request.node.name}-{len(started)}"
        folder.mkdir()
        started.append(Training(cluster, folder, *words, **more))
        return started[-1]

    yield start
    for training in started:
        training.job.cancel()
        training.job.end()


def test_trains_on_two_nodes(train):
    training = train("--max-steps=3", "--trl.temperature=0.9")
    job = training.job
    ended = job.end()
    text = job.text()
    assert (ended.state, ended.nodes) == ("COMPLETED", "gn[1-2]"), text[-6000:]
    assert "runs on  2 x cpu" in text
    table = rollouts(training.out)
    assert {*table["rank"]} == {0, 1} and {*table["step"]} == {1, 2, 3}
    assert (training.out / "model.safetensors").exists()
    # The record has the words of the user, not those of Slurm's plan.
    assert facts(training.out)["Command"] == "axolotl-grpo train config.yaml --max-steps=3 --trl.temperature=0.9"
    assert yaml.safe_load((training.out / "run.yaml").read_text())["trl"]["temperature"] == 0.9
    # The first node prints the plan, and a success looks like one.
    assert len(re.findall("^gn[12]: axolotl train ", text, re.M)) == 2
    for noise in ("Broken pipe", "frame #", "Traceback", "It will be ignored"):
        assert noise not in text


def test_killed_rank_ends_the_job(train):
    training = train()
    training.until_checkpoint(2)
    job = training.job
    (rank,) = job.pids("gn2", "python -u -m axolotl.cli.train")
    job.kill("gn2", rank)
    ended = job.end(120)
    assert ended.state == "FAILED"
    assert "axolotl-grpo-plugin: the training ended with" in job.text()
    for node in ("gn1", "gn2"):
        until(lambda: not job.pids(node, "axolotl"), 60)  # noqa: B023


@pytest.mark.parametrize("cluster", ["cgroup", "linuxproc"], indirect=True)
def test_cancelled_job_saves_its_model(train):
    """With linuxproc, Slurm signals all processes of the job, and with cgroup only the task of each node."""
    training = train(save_strategy="no")
    job = training.job
    job.until(lambda: "2/500" in job.text())
    job.cancel()
    assert job.end(120).state == "CANCELLED"
    assert_saved(training)


def test_job_saves_its_model_before_the_time_limit(train):
    training = train(save_strategy="no", requests=["--signal=TERM@60"])
    job = training.job
    job.until(lambda: "2/500" in job.text())
    job.scontrol("update", f"jobid={job.id}", f"TimeLimit={job.facts().seconds // 60 + 2}")
    assert job.end(200).state == "FAILED"  # the exit code is 143. At the limit, it would be TIMEOUT
    assert_saved(training)


def assert_saved(training):
    """Check that a job which got SIGTERM has said so, and saved a whole model."""
    assert "axolotl-grpo-plugin: SIGTERM: " in training.job.text()
    assert "Traceback" not in training.job.text()
    shapes = {name: tensor.shape for name, tensor in load_file(training.out / "model.safetensors").items()}
    assert shapes == {name: tensor.shape for name, tensor in load_file(MODEL / "model.safetensors").items()}


def test_job_of_a_failed_node_resumes_on_other_nodes(train, cluster):
    training = train()
    job = training.job
    training.until_checkpoint(2)
    assert job.facts().nodes == "gn[1-2]"
    cluster.kill_slurmd("gn2")
    job.until(lambda: job.facts().restarts == 1)
    # Slurm's default is a pause of two minutes.
    job.until(lambda: job.facts().state == "PENDING")
    job.scontrol("update", f"jobid={job.id}", "StartTime=now")
    job.until(lambda: (training.out / "rollouts/train").exists() and 2 in {*rollouts(training.out)["attempt"]})
    assert job.facts().nodes == "gn[1,3]"
    steps = rollouts(training.out).groupby("attempt")["step"].min()
    assert steps[1] == 1 and steps[2] > 2
    text = job.text()  # of both attempts
    assert "gn2: axolotl train config.yaml --launcher" in text
    assert "gn3: axolotl train config.yaml --auto-resume-from-checkpoints --launcher" in text
    assert facts(training.out)["Command"] == "axolotl-grpo train config.yaml"
    assert "auto_resume_from_checkpoints" not in (training.out / "run.yaml").read_text()
    cluster.start_slurmd("gn2")


LORA = {
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_target_modules": ["q_proj", "v_proj"],
    "learning_rate": 2e-3,
}
SERVER = {"use_vllm": True, "vllm_mode": "server", "use_data_producer": True, "vllm_lora_sync": True}
VLLM = {
    "host": "0.0.0.0",
    "max_model_len": 128,
    "dtype": "float32",
    "enforce_eager": True,
    "gpu_memory_utilization": 0.1,
}


def test_first_node_serves_and_two_nodes_train(train, cluster, vllm):
    """vLLM's CPU build, with adapters as files. The nodes have their own /tmp."""
    shared = cluster.folder / "tmp"
    shared.mkdir()
    env = {
        "PATH": f"{vllm.parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(shared),
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    trl = {**shipped_config()["trl"], **SERVER}
    training = train("--max-steps=4", requests=["--nodes=3"], env=env, trl=trl, vllm=VLLM, sequence_len=128, **LORA)
    job = training.job
    ended = job.end(1500)
    text = job.text()
    assert (ended.state, ended.nodes) == ("COMPLETED", "gn[1-3]"), text[-6000:]
    assert "vLLM serves on 0.0.0.0:8000" in text and "the trainers ended with exit code 0" in text
    assert text.count("listens on all networks") == 1
    # Not in debug.log: Axolotl's processes on both nodes write that file, and the last one to open it empties it.
    loaded = 'POST /v1/load_lora_adapter HTTP/1.1" 200'
    assert (training.out / "vllm-server.log").read_text().count(loaded) >= 3
    assert {*rollouts(training.out)["rank"]} == {0, 1}
    # A resume may have other nodes.
    words = ["train", "out/run.yaml", "--auto-resume-from-checkpoints", "--dry-run", "--gpus", 0]
    where = f"--chdir={training.out.parent}"
    planned = cluster.on(HEAD, "srun", "--nodes=2", "--nodelist=gn2,gn3", where, vllm.parent / "axolotl-grpo", *words)
    server, trainer = planned.splitlines()
    assert server.startswith("gn2: axolotl vllm-serve ")
    assert trainer.startswith("gn3: axolotl train ") and "--trl.vllm-server-host=gn2 " in trainer

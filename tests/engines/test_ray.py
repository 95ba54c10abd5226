"""Trainings on a real Ray cluster: `axolotl-grpo train CONFIG` with `use_ray` on two nodes without GPUs.

`pytest -m slow tests/engines/test_ray.py`, after `pip install ".[ray]"`. The nodes are two raylets with an IP address
and one CPU each. No root is needed. On two free cores: about 6 minutes.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import yaml

from axolotl_grpo_plugin.training.record import facts
from tests.e2e.conftest import ROOT, axolotl, environment, held_out_answers, history, rollouts, shipped_config, write
from tests.serving.marks import marked
from tests.serving.stubs import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install ".[ray]"'),
]

HEAD, SECOND = "127.0.0.2", "127.0.0.3"
PATIENCE = 900  # seconds, on a busy machine
# Ray waits for 10 to 60 seconds by default.
PATIENT = {
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_failure_threshold": "10",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}
OUTPUT = "outputs/mine"  # relative to the folder in which the command is typed
REWARD = """
from axolotl_grpo_plugin.reward import reward


@reward(range=(0.0, 1.0))
def short(completion):
    return 1 / (1 + len(completion))
"""


class Cluster:
    """Two raylets, which are two machines for Ray."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a socket's path has at most 107 characters
        self.address = f"{HEAD}:{free_port()}"

    def start(self):
        port = self.address.partition(":")[2]
        self._node(HEAD, "--head", "--port", port, "--include-dashboard=false", "--temp-dir", self.folder)
        self._node(SECOND, "--address", self.address)

    def _node(self, ip, *words):
        """Start a node. It ends with the tests: `ray stop` would end all clusters of this machine."""
        sizes = ("--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000")
        # Ports that the other node does not take.
        ports = ("--min-worker-port=0", "--max-worker-port=0")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        log = Path(self.folder, f"{ip}.log")
        for _attempt in range(4):  # a raylet has 30 seconds to start, which is little on a busy machine
            with log.open("w") as output:
                node = subprocess.Popen(
                    [*command, f"--node-ip-address={ip}", *sizes, *ports, *words],
                    env=environment(MARK=self.folder, PYTHONPATH=str(ROOT), **PATIENT),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            while node.poll() is None:
                if "Ray runtime started" in log.read_text():
                    return
                time.sleep(0.5)
        pytest.fail(log.read_text())

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = marked(self.folder)
            for process in left:
                process.send_signal(number)
            psutil.wait_procs(left, timeout=10)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Training:
    """`axolotl-grpo train`, typed in a folder that has a reward and a config."""

    def __init__(self, cluster, folder, *words):
        self.folder = folder
        self.out = folder / OUTPUT
        self.printed = folder / "printed"
        with self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("axolotl-grpo"), "train", *words],
                cwd=folder,
                env=environment(RAY_ADDRESS=cluster.address, MARK=cluster.folder, PYTHONPATH=str(ROOT)),
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    def text(self):
        return self.printed.read_text(errors="replace")

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.text()[-6000:]
            assert time.monotonic() < deadline, self.text()[-6000:]
            time.sleep(0.2)

    def end(self, code=0):
        assert self.process.wait(timeout=PATIENCE) == code, self.text()[-6000:]
        return self.text()

    def workers(self):
        """Return the process of each rank, by the IP address of its node."""
        line = r"\(ip=(\S+), pid=(\d+)\) world_rank=\d, local_rank=0"
        return {ip: int(pid) for ip, pid in re.findall(line, self.text())}


def config_of(**changes):
    config = shipped_config(
        output_dir=OUTPUT,
        use_ray=True,
        ray_num_workers=2,
        resources_per_worker={"CPU": 1, "GPU": 0},
        micro_batch_size=16,
        grpo_held_out_rows=8,
        grpo_rollouts=True,
        save_strategy="steps",
        save_steps=2,
        max_steps=1000,
        **changes,
    )
    config["trl"]["reward_funcs"].append("my_rewards.short")
    return config


@pytest.fixture(scope="module")
def killed(cluster, tmp_path_factory):
    """A training of which one worker is killed after a checkpoint."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "my_rewards.py").write_text(REWARD)
    write(folder, config_of())
    training = Training(cluster, folder, "config.yaml", "--trl.temperature=0.9")
    training.until(lambda: (training.out / "checkpoint-2" / "trainer_state.json").exists())
    psutil.Process(training.workers()[SECOND]).kill()
    training.end(code=1)
    return training


@pytest.fixture(scope="module")
def resumed(cluster, killed):
    """The same training, which goes on from its run.yaml for at least one step."""
    start = max(int(folder.name.partition("-")[2]) for folder in killed.out.glob("checkpoint-*"))
    last = str(start + 2)
    words = [f"{OUTPUT}/run.yaml", "--auto-resume-from-checkpoints", "--max-steps", last]
    training = Training(cluster, killed.folder, *words)
    training.end()
    training.steps = start, start + 2
    return training


def test_trains_on_both_nodes_with_the_rewards_of_the_drivers_folder(killed):
    assert killed.workers().keys() == {HEAD, SECOND}
    logged = rollouts(killed.out)
    assert {*logged["rank"]} == {0, 1}
    assert logged["reward/short"].between(0, 1, inclusive="neither").all()


def test_results_are_in_the_drivers_folder(killed):
    """Ray's workers start in a folder of its session, on each node's own disk."""
    assert (killed.out / "checkpoint-2" / "model.safetensors").stat().st_size > 1e6
    assert f"results  {OUTPUT}" in killed.text()


def test_record_has_the_command_and_the_config_of_the_driver(killed):
    assert facts(killed.out)["Command"] == "axolotl-grpo train config.yaml --trl.temperature=0.9 --use-ray"
    assert facts(killed.out)["Started"].endswith(f"in {killed.folder}")
    given = config_of(trl__temperature=0.9)
    assert yaml.safe_load((killed.out / "run.yaml").read_text()) == {
        key: value for key, value in given.items() if value is not None
    }


def test_workers_warn_of_no_key_that_axolotl_adds(killed):
    assert "does not know this key" not in killed.text()


def test_a_killed_worker_ends_the_run(killed):
    assert "ray.train.WorkerGroupError" in killed.text()


def test_resumes_from_its_run_yaml(resumed):
    start, last = resumed.steps
    logged = rollouts(resumed.out)
    new = logged[logged["attempt"] == 2]
    assert {*new["step"]} == {*range(start + 1, last + 1)} and {*new["rank"]} == {0, 1}
    assert [log["step"] for log in history(resumed.out, last)] == [*range(1, last + 1)]


def test_a_finished_run_has_a_model_a_card_and_held_out_answers(resumed):
    card = (resumed.out / "README.md").read_text()
    assert "--auto-resume-from-checkpoints --max-steps" in card and "short: " in card
    assert (resumed.out / "model.safetensors").stat().st_size > 1e6
    assert {answer["model"] for answer in held_out_answers(resumed.out)} == {"before", "after"}


def test_eval_reads_the_run(resumed):
    words = ("--limit", "8", "--samples", "1", "--out", "evaluation")
    axolotl("grpo", "eval", f"{OUTPUT}/run.yaml", *words, cwd=resumed.folder)
    assert list((resumed.folder / "evaluation").glob("*/eval.json"))  # a limit leaves the card as it is


def test_a_finding_of_a_worker_is_in_the_last_lines(cluster, tmp_path):
    (tmp_path / "my_rewards.py").write_text(REWARD)
    (tmp_path / "rows.jsonl").write_text('{"questio": "1 + 1?", "answer": "#### 2"}\n')
    config = config_of()
    config["datasets"][0]["path"] = "rows.jsonl"
    write(tmp_path, config)
    text = Training(cluster, tmp_path, "config.yaml").end(code=1)
    assert "SystemExit: axolotl-grpo-plugin: datasets[0] (rows.jsonl)" in text[-3000:], text[-6000:]
    assert 'no column "question"' in text[-3000:]

"""`axolotl train CONFIG --cloud cloud.yaml` from a user's folder to a trained model.

tests/cloud/modal_service.py stands for Modal's servers, and bare.py for the container.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.cloud.remote import STATE, is_complete
from tests.cloud.modal_service import ModalService
from tests.cloud.project import write
from tests.e2e.bare import SITE, Bare, skip_without
from tests.e2e.conftest import ROOT, axolotl

OUTPUTS = "axolotl-grpo-outputs"
SERVER = ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu-server.yaml"
BRIEF = """
def brief_reward_func(completions, **kwargs):
    return [1.0 / (1 + len(each[0]["content"])) for each in completions]
"""


class Cloud:
    """A user's folder, and Modal. logs: of each container. env: of cloud.yaml."""

    def __init__(self, folder, service, python, env):
        self.user, self.folder, self.service, self.python = folder / "user", folder, service, python
        self.jobs, self.logs = [], []
        self.user.mkdir()
        settings = yaml.safe_load((ROOT / "cloud.yaml").read_text())
        settings["env"] = {"AXOLOTL_DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", **env}
        (self.user / "cloud.yaml").write_text(yaml.safe_dump(settings))
        self.preempt_at, self.preempt = "", Bare.kill
        service.answer = self.call

    def train(self, config, *words, returncode=0):
        """Type the command, and return its output."""
        env = {"MODAL_SERVER_URL": self.service.url, "MODAL_CONFIG_PATH": os.devnull}
        env |= {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        command = ("train", config, "--cloud", "cloud.yaml", *words)
        return axolotl(*command, cwd=self.user, returncode=returncode, **env)

    def call(self, args, kwargs):
        """Run the job. If the container is preempted, run it in a new one, as Modal does."""
        self.bare, (job,) = Bare(self.folder, self.service, self.python), args
        self.jobs.append(job)
        if self.preempt_at:
            self.contain(job, self.preempt_at)
        code = self.contain(job)
        for each in self.bare.volume(OUTPUTS).rglob("*"):
            if each.name == STATE or each.suffix == ".safetensors":
                name = str(each.relative_to(self.bare.volume(OUTPUTS)))
                self.service.put_volume(OUTPUTS, {name: each.read_bytes()})
        return code

    def contain(self, job, preempt_at=""):
        """Run one container, and preempt it when that checkpoint is complete."""
        log = self.folder / "log"
        process = self.bare.start(job, log)
        checkpoint = self.bare.volume(OUTPUTS) / preempt_at
        while process.poll() is None:
            if preempt_at and is_complete(checkpoint):
                preempt_at = ""
                self.preempt(self.bare, process)
            time.sleep(0.05)
        self.logs.append(log.read_text(errors="replace"))
        self.service.log(self.logs[-1])
        return process.returncode


def ask_to_end(bare, process):
    """Preempt as Modal does: SIGINT to the Python process, which has 30 seconds to end."""
    os.kill(bare.body(process), signal.SIGINT)
    process.wait(30)


@pytest.fixture
def cloud(tmp_path):
    skip_without()
    with ModalService() as service:
        yield lambda python, **env: Cloud(tmp_path, service, python, env)


@pytest.mark.seconds(120)
def test_quickstart_is_killed_and_continues(cloud):
    made = cloud(Path(sys.executable))
    shutil.copytree(ROOT / "configs", made.user / "configs")
    words = ("--max-steps", 6, "--save-strategy", "steps", "--save-steps", 2)
    made.preempt_at = "quickstart/checkpoint-2"
    shown = made.train("configs/quickstart.yaml", *words)

    first, second = made.logs
    assert f"the plugin is {SITE}/axolotl_grpo_plugin/__init__.py" in first
    assert "axolotl-grpo-plugin: this run continues from checkpoint-" not in first
    assert "axolotl-grpo-plugin: this run continues from checkpoint-2\n" in second
    assert "6/6" in shown and "234 held-out rows, before and after training" in shown
    assert f"modal volume get {OUTPUTS} quickstart" in shown
    assert "gpu       none, because this runs on the CPU" in shown

    output = made.bare.volume(OUTPUTS) / "quickstart"
    state = json.loads((output / "checkpoint-6" / "trainer_state.json").read_text())
    steps = [log["step"] for log in state["log_history"] if "reward" in log]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert len(list((output / "completions").glob("*.parquet"))) == 6
    assert (output / "model.safetensors").stat().st_size > 1e6

    # A finished run is refused on the user's machine, and in a container that Modal restarts.
    refusal = "a finished run of configs/quickstart.yaml is there"
    assert refusal in made.train("configs/quickstart.yaml", *words, returncode=1)
    assert len(made.logs) == 2
    (job,) = made.jobs
    assert made.contain(job) == 1
    assert refusal in made.logs[-1] and "Traceback" not in made.logs[-1]


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_lora_config_with_vllm_is_interrupted_and_continues(cloud, vllm, smollm2, gsm8k):
    """Two boots of vLLM. The container has no GPU, so vLLM is its CPU build."""
    made = cloud(vllm, VLLM_CPU_KVCACHE_SPACE="1")
    cfg = yaml.safe_load(SERVER.read_text())
    cfg["datasets"] = [{"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}]
    cfg["trl"] |= {"num_generations": 4, "max_completion_length": 24}
    cfg["trl"]["reward_funcs"].append("rewards.short.brief_reward_func")
    cfg |= {"micro_batch_size": 4, "gradient_accumulation_steps": 1, "save_steps": 1}
    cfg |= {"grpo_rollouts": True}
    cfg |= {"base_model": "/cache/smollm2"}  # on a Volume
    write(made.user, "configs/mine.yaml", text=yaml.safe_dump(cfg))
    write(made.user, "rewards/short.py", text=BRIEF)
    rows = (gsm8k / "train.jsonl").read_text().splitlines(keepends=True)
    write(made.user, "data/train.jsonl", text="".join(rows[:16]))
    shutil.copytree(smollm2, made.folder / "volumes" / "axolotl-grpo-cache" / "smollm2")
    made.preempt_at = "gsm8k-smollm2-135m-cpu-server/checkpoint-1"
    made.preempt = ask_to_end
    shown = made.train("configs/mine.yaml", "--max-steps", 2)

    output = made.bare.volume(OUTPUTS) / "gsm8k-smollm2-135m-cpu-server"
    first, second = made.logs
    assert "SIGINT: the trainer saves, then all ends" in first and "KeyboardInterrupt" in first
    assert "this run continues from checkpoint-1\n" in second
    for each in (first, second):
        assert f"the plugin is {SITE}/axolotl_grpo_plugin/__init__.py" in each
        assert "vLLM serves on 127.0.0.1:" in each and "Synced LoRA adapter" in each
    assert "2/2" in shown
    state = json.loads((output / "checkpoint-2" / "trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "reward" in log]
    assert [log["step"] for log in logs] == [1, 2]
    assert all("rewards/brief_reward_func/mean" in log for log in logs)
    assert (output / "adapter_model.safetensors").stat().st_size > 1e6
    assert list((output / "rollouts").rglob("*.parquet"))
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert "Application startup complete" in (output / "vllm-server.log").read_text()

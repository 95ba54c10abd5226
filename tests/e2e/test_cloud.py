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
from tests.e2e.conftest import ROOT, axolotl, shipped_config

OUTPUTS = "axolotl-grpo-outputs"


class Cloud:
    """A user's folder, and Modal. logs: of each container. env: of cloud.yaml."""

    def __init__(self, folder, service, python, env):
        self.user, self.folder, self.service, self.python = folder / "user", folder, service, python
        self.logs = []
        self.user.mkdir()
        settings = yaml.safe_load((ROOT / "cloud.yaml").read_text())
        settings["env"] = {"AXOLOTL_DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", **env}
        (self.user / "cloud.yaml").write_text(yaml.safe_dump(settings))

    def train(self, config, *words, preempt_at, preempt=Bare.kill):
        """Type the command, and return its output. The container is preempted at a checkpoint."""

        def answer(job):
            self.bare = Bare(self.folder, self.service, self.python)
            self.contain(job, self.bare.volume(OUTPUTS) / preempt_at, preempt)
            return self.contain(job)  # in a new container, as Modal does

        self.service.answer = answer
        env = {"MODAL_SERVER_URL": self.service.url, "MODAL_CONFIG_PATH": os.devnull}
        env |= {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        return axolotl("train", config, "--cloud", "cloud.yaml", *words, cwd=self.user, **env)

    def contain(self, job, checkpoint=None, preempt=None):
        """Run one container, and preempt it when that checkpoint is complete."""
        log = self.folder / "log"
        process = self.bare.start(job, log)
        while process.poll() is None:
            if checkpoint and is_complete(checkpoint):
                preempt(self.bare, process)
                break
            time.sleep(0.05)
        process.wait()
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
    shown = made.train("configs/quickstart.yaml", *words, preempt_at="quickstart/checkpoint-2")

    first, second = made.logs
    assert f"the plugin is {SITE}/axolotl_grpo_plugin/__init__.py" in first
    assert "axolotl-grpo-plugin: this run continues from checkpoint-2\n" in second
    assert "6/6" in shown and "234 held-out rows, before and after training" in shown
    assert f"modal volume get {OUTPUTS} quickstart" in shown
    assert "gpu       none, because this runs on the CPU" in shown

    output = made.bare.volume(OUTPUTS) / "quickstart"
    state = json.loads((output / "checkpoint-6" / "trainer_state.json").read_text())
    steps = [log["step"] for log in state["log_history"] if "reward" in log]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert (output / "model.safetensors").stat().st_size > 1e6


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_lora_config_with_vllm_is_interrupted_and_continues(cloud, vllm, smollm2):
    """Two boots of vLLM. The container has no GPU, so vLLM is its CPU build."""
    made = cloud(vllm, VLLM_CPU_KVCACHE_SPACE="1")
    cfg = shipped_config(
        "gsm8k/smollm2-135m-cpu-server",
        datasets=[{"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}],
        base_model="/cache/smollm2",  # on a Volume
        trl__num_generations=4,
        trl__max_completion_length=24,
        **{"micro_batch_size": 4, "gradient_accumulation_steps": 1, "save_steps": 1},
    )
    write(made.user, "configs/mine.yaml", text=yaml.safe_dump(cfg))
    row = '{"question": "What is 1 + 1?", "answer": "#### 2"}\n'
    write(made.user, "data/train.jsonl", text=16 * row)
    shutil.copytree(smollm2, made.folder / "volumes" / "axolotl-grpo-cache" / "smollm2")
    name = "gsm8k-smollm2-135m-cpu-server"
    at = {"preempt_at": f"{name}/checkpoint-1", "preempt": ask_to_end}
    made.train("configs/mine.yaml", "--max-steps", 2, **at)

    output = made.bare.volume(OUTPUTS) / name
    first, second = made.logs
    assert "SIGINT: the trainer saves, then the run ends" in first and "KeyboardInterrupt" in first
    assert "this run continues from checkpoint-1\n" in second
    for each in (first, second):
        assert "vLLM serves on 127.0.0.1:" in each
    assert "Synced LoRA adapter" in (output / "debug.log").read_text()
    state = json.loads((output / "checkpoint-2" / "trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "reward" in log]
    assert [log["step"] for log in logs] == [1, 2]
    assert (output / "adapter_model.safetensors").stat().st_size > 1e6
    assert json.loads((output / STATE).read_text())["finished"] is True

"""`axolotl train CONFIG --cloud cloud.yaml` from a user's folder to a trained model.

tests/cloud/modal_service.py stands for Modal's servers, and bare.py for the container.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.cloud.remote import STATE, is_complete
from tests.cloud.modal_service import ModalService
from tests.e2e.bare import SITE, Bare, skip_without
from tests.e2e.conftest import ROOT, axolotl

OUTPUTS = "axolotl-grpo-outputs"


class Cloud:
    """A user's folder, and Modal. logs: of each container."""

    def __init__(self, folder, service, python):
        self.user, self.folder, self.service, self.python = folder / "user", folder, service, python
        self.logs = []
        self.user.mkdir()
        settings = yaml.safe_load((ROOT / "cloud.yaml").read_text())
        settings["env"] = {"AXOLOTL_DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        (self.user / "cloud.yaml").write_text(yaml.safe_dump(settings))

    def train(self, config, *words, killed_at):
        """Type the command, and return its output. The container is killed at a checkpoint."""

        def answer(job):
            self.bare = Bare(self.folder, self.service, self.python)
            self.contain(job, self.bare.volume(OUTPUTS) / killed_at)
            return self.contain(job)  # in a new container, as Modal does

        self.service.answer = answer
        env = {"MODAL_SERVER_URL": self.service.url, "MODAL_CONFIG_PATH": os.devnull}
        env |= {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        return axolotl("train", config, "--cloud", "cloud.yaml", *words, cwd=self.user, **env)

    def contain(self, job, checkpoint=None):
        """Run one container, and kill it when that checkpoint is complete."""
        log = self.folder / "log"
        process = self.bare.start(job, log)
        while process.poll() is None:
            if checkpoint and is_complete(checkpoint):
                process.kill()
                break
            time.sleep(0.05)
        process.wait()
        self.logs.append(log.read_text(errors="replace"))
        self.service.log(self.logs[-1])
        return process.returncode


@pytest.fixture
def cloud(tmp_path):
    skip_without()
    with ModalService() as service:
        yield Cloud(tmp_path, service, Path(sys.executable))


@pytest.mark.seconds(120)
def test_quickstart_is_killed_and_continues(cloud):
    shutil.copytree(ROOT / "configs", cloud.user / "configs")
    words = ("--max-steps", 6, "--save-strategy", "steps", "--save-steps", 2)
    shown = cloud.train("configs/quickstart.yaml", *words, killed_at="quickstart/checkpoint-2")

    first, second = cloud.logs
    assert f"the plugin is {SITE}/axolotl_grpo_plugin/__init__.py" in first
    assert "axolotl-grpo-plugin: this run continues from checkpoint-2\n" in second
    assert "6/6" in shown and "234 held-out rows, before and after training" in shown
    assert f"modal volume get {OUTPUTS} quickstart" in shown
    assert "gpu       none, because this runs on the CPU" in shown

    output = cloud.bare.volume(OUTPUTS) / "quickstart"
    state = json.loads((output / "checkpoint-6" / "trainer_state.json").read_text())
    steps = [log["step"] for log in state["log_history"] if "reward" in log]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert (output / "model.safetensors").stat().st_size > 1e6

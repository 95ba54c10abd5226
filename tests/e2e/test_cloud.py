"""`axolotl train CONFIG --cloud cloud.yaml` from a user's folder to a trained model, all but Modal itself.

The command, the launcher, Modal's client and what it sends are real; so is the training in the container,
from nothing else. Modal's side of the wire is tests/cloud/modal_service.py, the container is bare.py.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.cloud.checkpoints import missing
from axolotl_grpo_plugin.cloud.remote import Job
from axolotl_grpo_plugin.cloud.resume import STATE
from tests.cloud.modal_service import ModalService
from tests.e2e.bare import SITE, Bare, skip_without
from tests.e2e.conftest import ROOT, finish, start

OUTPUTS = "axolotl-grpo-outputs"
SERVER = ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu-server.yaml"


class Cloud:
    """A user's folder, and Modal. env: what cloud.yaml says beside what is shipped."""

    def __init__(self, folder: Path, service: ModalService, python: Path, env: dict[str, str]):
        self.user, self.folder, self.service, self.python = folder / "user", folder, service, python
        self.jobs: list[Job] = []
        self.said: list[str] = []  # by each container
        self.user.mkdir()
        settings = yaml.safe_load((ROOT / "cloud.yaml").read_text())
        settings["env"] = {"AXOLOTL_DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", **env}
        (self.user / "cloud.yaml").write_text(yaml.safe_dump(settings))
        self.preempt_at = ""
        service.answer = self.call

    def train(self, config: str, *words: object, returncode: int = 0) -> str:
        """What the user types, and sees."""
        own = {"MODAL_SERVER_URL": self.service.url, "MODAL_CONFIG_PATH": os.devnull}
        token = {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        command = ("train", config, "--cloud", "cloud.yaml", *words)
        return finish(start(*command, cwd=self.user, **own, **token), returncode)

    def call(self, args, kwargs):
        """Modal's side of a call: a preempted container's input is given to a new one."""
        self.bare = Bare(self.folder, self.service, self.python)
        (job,) = args
        self.jobs.append(job)
        if self.preempt_at:
            assert self.contain(job, self.preempt_at) == -9
        code = self.contain(job)
        for each in self.bare.volume(OUTPUTS).rglob("*"):
            if each.name == STATE or each.suffix == ".safetensors":
                name = str(each.relative_to(self.bare.volume(OUTPUTS)))
                self.service.put_volume(OUTPUTS, {name: each.read_bytes()})
        return code

    def contain(self, job, preempt_at: str = "") -> int:
        """One container; it is killed once there is that checkpoint."""
        log = self.folder / "said"
        process = self.bare.start(job, log)
        checkpoint = self.bare.volume(OUTPUTS) / preempt_at
        while process.poll() is None:
            if preempt_at and checkpoint.is_dir() and not missing(checkpoint):
                process.kill()
            time.sleep(0.05)
        self.said.append(log.read_text(errors="replace"))
        self.service.log(self.said[-1])
        return process.returncode


@pytest.fixture
def cloud(tmp_path):
    skip_without()
    with ModalService() as service:
        yield lambda python, **env: Cloud(tmp_path, service, python, env)


@pytest.mark.seconds(120)
def test_the_quickstart_trains_is_preempted_and_goes_on(cloud):
    made = cloud(Path(sys.executable))
    shutil.copytree(ROOT / "configs", made.user / "configs")
    words = ("--max-steps", 6, "--save-strategy", "steps", "--save-steps", 2)
    made.preempt_at = "quickstart/checkpoint-2"
    said = made.train("configs/quickstart.yaml", *words)

    first, second = made.said
    assert f"the plugin is {SITE}/axolotl_grpo_plugin/__init__.py" in first
    assert "axolotl-grpo-plugin: this run goes on from checkpoint-" not in first
    assert "axolotl-grpo-plugin: this run goes on from checkpoint-2\n" in second
    assert "6/6" in said and "234 held-out rows, before and after training" in said
    assert f"modal volume get {OUTPUTS} quickstart" in said

    output = made.bare.volume(OUTPUTS) / "quickstart"
    state = json.loads((output / "checkpoint-6" / "trainer_state.json").read_text())
    steps = [log["step"] for log in state["log_history"] if "reward" in log]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert len(list((output / "completions").glob("*.parquet"))) == 6
    assert (output / "model.safetensors").stat().st_size > 1e6

    # Started once more: by the user, who is told here; and by Modal, in a container.
    refusal = "a finished run of configs/quickstart.yaml is there"
    assert refusal in made.train("configs/quickstart.yaml", *words, returncode=1)
    assert len(made.said) == 2
    (job,) = made.jobs
    assert made.contain(job) == 1
    assert refusal in made.said[-1] and "Traceback" not in made.said[-1]

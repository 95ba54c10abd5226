"""`axolotl train CONFIG --cloud cloud.yaml` from a user's folder to a trained model.

tests/cloud/modal_service.py stands for Modal's servers, and processes of this machine for its containers.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from axolotl_grpo_plugin.cloud.image import CHECKOUT, WANTED
from axolotl_grpo_plugin.cloud.remote import STATE
from axolotl_grpo_plugin.output.checkpoints import why_not_whole
from tests.cloud.modal_service import ModalService
from tests.e2e.conftest import ROOT, axolotl, environment, history
from tests.serving.marks import marked

OUTPUTS = "axolotl-grpo-outputs"
# Modal's runtime imports the module and calls the function.
BODY = """
import json, sys
from pathlib import Path
import axolotl_grpo_plugin
from axolotl_grpo_plugin.cloud import remote

root = Path(sys.argv[1])
remote.UPLOAD, remote.WORK = root / "upload", root / "workspace"
remote.modal.current_function_call_id = lambda: "fc-1"
print("the plugin is", axolotl_grpo_plugin.__file__, flush=True)
sys.exit(remote.run(remote.CloudJob(**json.loads(sys.argv[2]))))
"""


class Containers:
    """Containers with the uploaded files, and with the plugin that was sent. logs: of each container."""

    def __init__(self, folder, service):
        self.folder, self.service, self.logs = folder, service, []
        self.output = folder / "workspace" / "outputs" / "quickstart"
        service.answer = self.answer

    def answer(self, job):
        """Kill the first container at its first checkpoint. Modal starts a second one."""
        self.install()
        self.contain(job, self.output / "checkpoint-2")
        return self.contain(job)

    def install(self):
        """Install the sources that were sent, as the image's last layer does."""
        self.service.materialize(self.folder)
        source = self.folder / CHECKOUT.lstrip("/")
        for line in WANTED:
            subprocess.run(line.replace(CHECKOUT, str(source)), shell=True, check=True)
        uv = [os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--python", sys.executable]
        subprocess.run([*uv, "--no-deps", "--target", self.folder / "site", source], check=True)

    def contain(self, job, killed_at=None):
        """Run one container, and kill it when that checkpoint is whole."""
        mark, log = str(self.folder), self.folder / "log"
        job = job._replace(volumes={str(self.output.parent): OUTPUTS})
        command = [sys.executable, "-c", BODY, self.folder, json.dumps(job._asdict())]
        env = environment(PYTHONPATH=str(self.folder / "site"), MODAL_CONFIG_PATH=os.devnull, MARK=mark)
        with log.open("wb") as written:
            process = subprocess.Popen(command, cwd="/", env=env, stdout=written, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if killed_at and not why_not_whole(killed_at):
                for running in marked(mark):
                    running.kill()
            time.sleep(0.05)
        self.logs.append(log.read_text(errors="replace"))
        self.service.log(self.logs[-1])
        return process.returncode


@pytest.mark.slow
def test_quickstart_is_killed_and_continues(tmp_path):
    user = tmp_path / "user"
    shutil.copytree(ROOT / "configs", user / "configs")
    shutil.copy(ROOT / "cloud.yaml", user)
    words = ("--max-steps", 6, "--save-strategy", "steps", "--save-steps", 2)
    with ModalService() as service:
        containers = Containers(tmp_path / "containers", service)
        env = {"MODAL_SERVER_URL": service.url, "MODAL_CONFIG_PATH": os.devnull}
        env |= {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
        shown = axolotl("train", "configs/quickstart.yaml", "--cloud", "cloud.yaml", *words, cwd=user, **env)
    first, second = containers.logs
    assert f"the plugin is {containers.folder}/site/axolotl_grpo_plugin/__init__.py" in first
    assert "axolotl-grpo-plugin: this run continues from checkpoint-2\n" in second
    assert "6/6" in shown and "held-out rows" in shown
    assert f"modal volume get {OUTPUTS} quickstart" in shown
    assert "gpu       none, because this runs on the CPU" in shown

    output = containers.output
    assert [log["step"] for log in history(output, 6)] == [1, 2, 3, 4, 5, 6]
    assert json.loads((output / STATE).read_text())["finished"] is True
    assert (output / "model.safetensors").stat().st_size > 1e6

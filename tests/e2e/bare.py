"""A container on this machine, by bubblewrap: a launcher's upload, Axolotl, and nothing else of ours.

No home folder, no checkout, no network but its own loopback, no variable of this process.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from axolotl_grpo_plugin.cloud.image import CHECKOUT, WANTED
from axolotl_grpo_plugin.cloud.remote import Job
from tests.cloud.modal_service import ModalService

# Modal's runtime imports the module and calls the function.
BODY = """
import json, sys
import axolotl_grpo_plugin
from axolotl_grpo_plugin.cloud import remote
print("the plugin is", axolotl_grpo_plugin.__file__, flush=True)
remote.modal.current_function_call_id = lambda: "fc-1"
sys.exit(remote.run(json.loads(sys.argv[1])))
"""
SITE = "/opt/site"


class Bare:
    """Containers of the function that a launcher created at the service.

    folder: for what was sent, and the Volumes. python: of an environment with Axolotl, which stands
    for the image's; of its packages, this plugin is not seen.
    """

    def __init__(self, folder: Path, service: ModalService, python: Path):
        self.folder, self.python = folder, python
        self.sent, self.site = folder / "sent", folder / "site"
        service.materialize(self.sent)
        self.env = {"PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}
        for layer in service.image_layers():
            for line in layer.dockerfile_commands:
                if line.startswith("ENV "):
                    self.env |= dict(word.split("=", 1) for word in shlex.split(line[4:]))
        for values in service.secrets().values():
            self.env |= values
        self._install()

    def _install(self) -> None:
        """As the image's last layer does, from the sources that were sent."""
        source = self.folder / "source"  # uv writes beside them
        shutil.copytree(self.sent / CHECKOUT.lstrip("/"), source, dirs_exist_ok=True)
        for line in WANTED:
            subprocess.run(line.replace(CHECKOUT, str(source)), shell=True, check=True)
        uv = [os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--python", self.python]
        target = ["--no-deps", "--reinstall", "--target", self.site, source]
        subprocess.run([*uv, *target], check=True)

    def volume(self, name: str) -> Path:
        """What is on a Volume: it outlives its containers."""
        made = self.folder / "volumes" / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def start(self, job: Job, said: Path) -> subprocess.Popen[bytes]:
        """A new container with this job, and its log."""
        command = [*self._bwrap(job), str(self.python), "-c", BODY, json.dumps(job)]
        with said.open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """It and all that is in it."""
        process.kill()

    def body(self, process: subprocess.Popen[bytes]) -> int:
        """The process that runs the function, as this machine counts."""
        inside = psutil.Process(process.pid).children(recursive=True)
        return next(each.pid for each in inside if each.cmdline()[1:3] == ["-c", BODY])

    def _bwrap(self, job: Job) -> list[str]:
        words = ["bwrap", "--die-with-parent", "--clearenv", "--chdir", "/"]
        words += [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts")]
        words += ["--proc", "/proc", "--dev", "/dev"]
        for path in ("/tmp", "/root", "/dev/shm", "/workspace"):
            words += ["--tmpfs", path]
        for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
            if path.is_symlink():
                words += ["--symlink", os.readlink(path), str(path)]
            elif path.exists():
                words += ["--ro-bind", str(path), str(path)]
        for path in ("/usr", "/etc", "/sys", *_environment(self.python)):
            words += ["--ro-bind", path, path]
        words += ["--ro-bind", str(self.site), SITE]
        words += ["--ro-bind-try", str(self.sent / "upload"), "/upload"]
        for mount, name in job["volumes"].items():
            words += ["--bind", str(self.volume(name)), mount]
        env = self.env | {"PYTHONPATH": SITE}
        if sys.pycache_prefix:  # see tests/conftest.py: modules that were compiled before
            words += ["--ro-bind", sys.pycache_prefix, sys.pycache_prefix]
            env["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        return [*words, *(word for item in env.items() for word in ("--setenv", *item))]


def _environment(python: Path) -> list[str]:
    """Where it is, and the Python that it was made with."""
    asked = [python, "-c", "import sys; print(sys.prefix); print(sys.base_prefix)"]
    found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in found if not f"{path}/".startswith("/usr/")]


def skip_without() -> None:
    """Skip the test where bubblewrap makes no container."""
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    words = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "--proc", "/proc"]
    done = subprocess.run([*words, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"bubblewrap makes no container here: {done.stderr.strip()}")

"""`remote.run` in a process of its own, as Modal's runtime runs it, with a stand-in for Axolotl.

The signals, the processes and the files are real. What Modal is asked is made up, unless a test has
a ModalService to take it: to import Modal takes a second. The real Axolotl is in tests/e2e/test_cloud.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from axolotl_grpo_plugin.cloud.remote import Job
from tests.serving.marks import hear_ctrl_c, marked

BODY = """
import json, signal, sys
from pathlib import Path
from axolotl_grpo_plugin.cloud import process, remote

def cancel(*_):  # as modal/_container_entrypoint.py does around a synchronous function
    from modal.exception import InputCancellation
    raise InputCancellation("Input was cancelled by user")

signal.signal(signal.SIGUSR1, cancel)
root = Path(sys.argv[1])
remote.PARCEL, remote.WORK = root / "parcel", root / "workspace"
remote.AXOLOTL = [sys.executable, str(root / "axolotl.py")]
process.SAVING = 1.5
if "--commit" not in sys.argv:
    remote.commit = lambda names: print("committed", *names)
    remote.call_id = lambda: "fc-1"
if "--no-adoption" in sys.argv:
    process.adopt_orphans = lambda: None
print("returned", remote.run(json.loads(sys.argv[2])))
"""


class Container:
    """axolotl: the stand-in's source. mark: in the environment of all that runs here."""

    def __init__(self, root: Path, axolotl: str = "", options: tuple[str, ...] = ()):
        self.options = options
        self.root, self.mark, self.said = root, str(root), root / "said"
        self.work, self.output = root / "workspace", root / "workspace" / "outputs" / "a"
        self.work.mkdir()
        self.axolotl(axolotl)

    def axolotl(self, source: str) -> "Container":
        """Another stand-in."""
        (self.root / "axolotl.py").write_text(source)
        return self

    def send(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            file = self.root / "parcel" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def job(self, **keys: object) -> Job:
        own: Job = {
            "command": ["grpo", "train"],
            "config": "configs/a.yaml",
            "text": "rl: grpo\n",
            "words": ["--learning-rate=1e-6"],
            "after": [],
            "output": "./outputs/a",
            "volumes": {str(self.work / "outputs"): "runs"},
            "resume": True,
        }
        return own | keys

    def start(self, **keys: object) -> "Container":
        env = {**os.environ, "MARK": self.mark}
        env.pop("PYTHONUNBUFFERED", None)
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    BODY,
                    str(self.root),
                    json.dumps(self.job(**keys)),
                    *self.options,
                ],
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
                start_new_session=True,
            )
        return self

    def signal(self, number: signal.Signals) -> "Container":
        os.kill(self.process.pid, number)
        return self

    def until(self, text: str) -> "Container":
        """Wait for a text among what has been printed."""
        deadline = time.monotonic() + 60
        while text not in self.text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        return self

    def end(self) -> str:
        """What was printed, once it has ended."""
        self.process.wait(timeout=60)
        return self.text()

    def run(self, **keys: object) -> str:
        return self.start(**keys).end()

    def text(self) -> str:
        return self.said.read_text()

    def processes(self) -> list[psutil.Process]:
        return marked(self.mark)

    def left(self) -> list[list[str]]:
        return [each.cmdline() for each in self.processes()]

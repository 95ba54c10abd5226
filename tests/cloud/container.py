"""`remote.run` in a process of its own, as Modal's runtime runs it, with a stand-in for Axolotl."""

import json
import os
import subprocess
import sys
import time

from tests.serving.marks import hear_ctrl_c, marked

BODY = """
import json, signal, sys
from pathlib import Path
from axolotl_grpo_plugin.cloud import remote

def cancel(*_):  # as modal/_container_entrypoint.py does around a synchronous function
    from modal.exception import InputCancellation
    raise InputCancellation("Input was cancelled by user")

signal.signal(signal.SIGUSR1, cancel)
root = Path(sys.argv[1])
remote.UPLOAD, remote.WORK, remote.SAVING = root / "upload", root / "workspace", 1.5
remote.AXOLOTL = [sys.executable, str(root / "axolotl.py")]
remote.modal.current_function_call_id = lambda: "fc-1"
print("returned", remote.run(json.loads(sys.argv[2])))
"""


class Container:
    """root: for its files; all processes that run there have it in their environment."""

    def __init__(self, root):
        self.root, self.said = root, root / "said"
        self.work, self.output = root / "workspace", root / "workspace" / "outputs" / "a"
        self.work.mkdir()

    def axolotl(self, source):
        """Set the stand-in's source."""
        (self.root / "axolotl.py").write_text(source)
        return self

    def job(self, **keys):
        own = {
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

    def start(self, **keys):
        env = {**os.environ, "MARK": str(self.root)}
        job = json.dumps(self.job(**keys))
        words = [sys.executable, "-c", BODY, str(self.root), job]
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                words,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
                start_new_session=True,
            )
        return self

    def signal(self, number):
        os.kill(self.process.pid, number)
        return self

    def until(self, text):
        """Wait for a text among the output."""
        deadline = time.monotonic() + 60
        while text not in self.said.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, (
                self.said.read_text()
            )
            time.sleep(0.02)
        return self

    def end(self):
        """Return the output, once it has ended."""
        self.process.wait(timeout=60)
        return self.said.read_text()

    def run(self, **keys):
        return self.start(**keys).end()

    def processes(self):
        return marked(str(self.root))

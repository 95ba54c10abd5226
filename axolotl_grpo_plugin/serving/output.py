"""Show a trainer's errors, and end with one line in place of the launcher's tracebacks."""

import os
import pty
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from axolotl_grpo_plugin.findings import END
from axolotl_grpo_plugin.processes import shell_code, spawn
from axolotl_grpo_plugin.serving.saver import SAVER, Saver

LOG = "debug.log"  # Axolotl's log in output_dir


class TrainerProcess:
    """A started trainer. Its standard error is copied to this process's, until it writes its end.

    From then on, the rest goes to Axolotl's log only, if there is one.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], output_dir: str):
        self._folder = TemporaryDirectory()
        self._end = Path(self._folder.name, "end")
        self._saver = Path(self._folder.name, "saver.json")
        self._log = Path(output_dir, LOG)
        self._began = time.time()
        self._last = b"\n"  # the last character on this process's standard error
        if sys.stderr.isatty():
            source, sink = pty.openpty()
            termios.tcsetwinsize(sink, termios.tcgetwinsize(2))
        else:
            source, sink = os.pipe()
        files = {END: str(self._end), SAVER: str(self._saver)}
        self._process = spawn(command, {**env, **files}, errors=sink)
        self.pid = self._process.pid
        os.close(sink)
        self._copier = Thread(target=self._copy, args=(source,), daemon=True)
        self._copier.start()

    def runs(self) -> bool:
        """Return whether the trainer runs."""
        return self._process.poll() is None

    def saver(self) -> Saver | None:
        """Return the rank that saves the model, or None before it can."""
        return Saver.read(self._saver)

    def _copy(self, source: int) -> None:
        with suppress(OSError):  # the end of a terminal
            while data := os.read(source, 1 << 16):
                if not self._end.exists():
                    os.write(2, data)
                    self._last = data[-1:]
                elif self._logs():
                    with self._log.open("ab") as log:
                        log.write(data)

    def _logs(self) -> bool:
        """Return whether this run, not an earlier one, has begun its log."""
        return self._log.exists() and self._log.stat().st_mtime >= self._began

    def end(self) -> int:
        """Return the exit code of a trainer that has ended, after the line that says why it failed."""
        code = shell_code(self._process.wait())
        self._copier.join(timeout=5)  # a process that it left may keep the pipe open
        if code:
            text = f"axolotl-grpo-plugin: the training ended with exit code {code}."
            if self._end.exists():
                text = self._end.read_text(encoding="utf-8").rstrip()
            if self._logs():
                text += f" Log: {self._log}"
            if self._last != b"\n":
                text = f"\n{text}"
            print(text, file=sys.stderr, flush=True)
        self._folder.cleanup()
        return code

"""Show a trainer's errors, and end with one line in place of the launcher's tracebacks."""

import fcntl
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
from axolotl_grpo_plugin.serving.processes import shell_code, spawn

LOG = "debug.log"  # Axolotl's log in output_dir


class Trainer:
    """A started trainer. Its standard error is copied to this process's, until it writes its end.

    From then on, the rest goes to Axolotl's log only, if there is one.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], output_dir: str):
        self._folder = TemporaryDirectory()
        self._end, self._log = Path(self._folder.name, "end"), Path(output_dir, LOG)
        self._began, self._last = time.time(), b"\n"
        source, sink = pty.openpty() if sys.stderr.isatty() else os.pipe()
        if sys.stderr.isatty():
            size = fcntl.ioctl(2, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(sink, termios.TIOCSWINSZ, size)
        self._process = spawn(command, {**env, END: str(self._end)}, errors=sink)
        self.pid, self.poll = self._process.pid, self._process.poll
        os.close(sink)
        self._copier = Thread(target=self._copy, args=(source,), daemon=True)
        self._copier.start()

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
            line_end = "" if self._last == b"\n" else "\n"
            print(f"{line_end}{text}", file=sys.stderr, flush=True)
        self._folder.cleanup()
        return code

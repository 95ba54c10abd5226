"""The trainer's side of the tool server: calls that end, with counts, and the server's replacement."""

import logging
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock

from axolotl_grpo_plugin.environments.server import (
    MAKING,
    ToolAnswer,
    ToolCall,
    ToolLimits,
    ToolRef,
    serve,
)
from axolotl_grpo_plugin.processes import start_python

LOG = logging.getLogger(__name__)

_MOST_LOGGED = 3  # failed calls to log per tool
_GRACE = 30.0  # seconds for the server itself
KINDS = ("calls", "errors", "timeouts", "seconds")
LOST = ("", "lost")  # episodes whose process was killed, or which failed


class ToolError(Exception):
    """A call failed. TRL gives the message to the model as the tool's answer."""


class ToolRunner:
    """Runs the calls of one rank, one at a time, as TRL makes them.

    counts: by tool and kind (KINDS), and of lost episodes (LOST), until `take_counts`.
    """

    def __init__(self, refs: Sequence[ToolRef], limits: ToolLimits):
        self._refs, self._limits, self._lock = refs, limits, Lock()
        self.counts: Counter[tuple[str, str]] = Counter()
        self._shown: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="axolotl-grpo-tools-")
        self._process, self._pipe = start_python(serve.__module__, serve.__name__)
        self._pipe.send((self._refs, self._limits, self._folder))
        if not self._pipe.poll(MAKING + _GRACE):
            self.close()
            raise RuntimeError(
                "The process of the tools did not start. Import less in their modules."
            )
        self._pipe.recv()

    def call(
        self,
        name: str,
        number: int,
        arguments: dict[str, object],
        method: str = "",
        slot: str | None = None,
        make: bool = True,
    ) -> ToolAnswer:
        """Call a tool, and count it under `name` if that is not "". The others are those of `ToolCall`."""
        began = time.monotonic()
        answer = self._ask(ToolCall(number, method, slot or name, make, pickle.dumps(arguments)))
        if name:
            self.counts[name, "calls"] += 1
            self.counts[name, "seconds"] += time.monotonic() - began  # type: ignore[assignment]
            if answer.status != "ok":
                kind = "timeouts" if answer.status == "timeout" else "errors"
                self.counts[name, kind] += 1
        if answer.status not in ("ok", "gone") and self._shown[name] < _MOST_LOGGED:
            self._shown[name] += 1
            LOG.warning(
                "The tool %s failed with %.500r: %s\n%s",
                name or method,
                arguments,
                answer.error,
                answer.trace,
            )
        return answer

    def take_counts(self, keys: Iterable[tuple[str, str]]) -> list[float]:
        """Return the counts of these keys, and begin again."""
        taken = [float(self.counts[key]) for key in keys]
        self.counts.clear()
        return taken

    def _ask(self, call: ToolCall) -> ToolAnswer:
        with self._lock:
            try:
                self._pipe.send(call)
                if self._pipe.poll(MAKING + 2 * self._limits.seconds + _GRACE):
                    return self._pipe.recv()  # type: ignore[no-any-return]
            except (EOFError, OSError):
                pass
            # A tool ended the server itself, or froze it.
            self.close()
            self._start()
            return ToolAnswer("died", error="its process died")

    def close(self) -> None:
        """End all processes, and remove their temporary files."""
        self._pipe.close()  # the server then ends by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

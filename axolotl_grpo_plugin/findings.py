"""`Finding`, the result of a check, and `ConfigError`, which ends a run before it starts."""

import logging
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

LOG = logging.getLogger(__name__)

# `axolotl grpo train` sets this variable for the trainer: the file for the line that ends the run.
END = "AXOLOTL_GRPO_END"
_LIBRARIES = ("/lib/python", "/multiprocessing/", f"{Path(__file__).parent}{os.sep}")

Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One fault of a config or a dataset.

    where: file and key, or dataset and row. what: the fault. fix: how to repair it. detail: the
    original traceback, if there is one. level: an error ends the run. A warning is for a config that
    trains, but probably not as intended. A skipped check needs something that this machine lacks.
    """

    where: str
    what: str
    fix: str
    detail: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        line = f"{self.where}: {_with_stop(self.what)} {_with_stop(self.fix)}"
        return f"{line}\n{self.detail.rstrip()}" if self.detail else line


def _with_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


class FindingError(Exception):
    """A finding that ends the work on one file or tokenizer."""

    def __init__(self, where: str, what: str, fix: str):
        self.finding = Finding(where, what, fix)
        super().__init__(str(self.finding))


class ConfigError(SystemExit):
    """The run must not start. Ends the process with the message only, exit code 1.

    It is a SystemExit, because a traceback through Axolotl's loader says nothing about a typo.
    findings: the errors that checks found.
    """

    findings: tuple[Finding, ...] = ()

    def __init__(self, message: str):
        super().__init__(message)
        write_end(message)


def write_end(message: str) -> None:
    """Pass the message that ends this run to `axolotl grpo train`, if that started the run."""
    if file := os.environ.get(END):
        Path(file).write_text(message, encoding="utf-8")


def stop_on(findings: Iterable[Finding]) -> None:
    """Log the warnings, and raise ConfigError with all errors if there are any."""
    errors = []
    for finding in findings:
        if finding.level == "error":
            errors.append(finding._replace(detail=""))  # `check` shows the tracebacks
        elif finding.level == "warning":
            LOG.warning("axolotl-grpo-plugin: %s", finding)
    if errors:
        error = ConfigError("\n".join(f"axolotl-grpo-plugin: {each}" for each in errors))
        error.findings = tuple(errors)
        raise error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [""])[0]


def raised(trace: str) -> str:
    """Return the last line of a traceback, with the place in the user's own code that raised it."""
    last = trace.rstrip().splitlines()[-1]
    places = re.findall(r'File "(/.+?)", line (\d+)', trace)
    own = [place for place in places if not any(part in place[0] for part in _LIBRARIES)]
    return f"{last} ({os.path.relpath(own[-1][0])}, line {own[-1][1]})" if own else last


def at(cfg: Any, key: Any) -> str:
    """Return a place in a config for a finding."""
    file = cfg.get("axolotl_config_path")
    return f"{file}: {key}" if file else str(key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"Did you mean `{close[0]}`?" if close else f"Valid names: {', '.join(known) or 'none'}"


def correct_path() -> str:
    """Return the fix for a path that does not exist."""
    return f"Correct the path, which is relative to the working folder {os.getcwd()}"

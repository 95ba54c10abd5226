"""`Finding`, the result of a check, and `FindingError`, which ends the work because of findings."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from axolotl_grpo_plugin.processes import is_first_rank

LOG = logging.getLogger(__name__)

# `axolotl-grpo train` sets this variable for the trainer: the file for the line that ends the run.
END = "AXOLOTL_GRPO_END"
_OURS = re.escape(f"{Path(__file__).parent}{os.sep}")
_LIBRARIES = re.compile(f"/lib/python|/multiprocessing/|{_OURS}")

# Of an error's text, which a completion can make long.
_LONGEST_LINE = 1000  # characters
_END_LINES = 30  # at each end

Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One fault of a config or a dataset.

    Attributes:
        where: File and key, or dataset and row. It is "" if `what` says it.
        what: The fault.
        fix: How to repair it. It is "" if `what` says it.
        detail: The original traceback, if there is one.
        level: An error ends the run. A warning is for a config that trains, but probably not as intended. A
            skipped check needs something that this machine lacks.
        code: A short name of the fault, such as "unknown-key". Callers and tests use it, not the sentence.
    """

    where: str
    what: str
    fix: str
    detail: str = ""
    level: Level = "error"
    code: str = ""

    def __str__(self) -> str:
        line = _with_stop(self.what)
        if self.where:
            line = f"{self.where}: {line}"
        if self.fix:
            line += f" {_with_stop(self.fix)}"
        if self.detail:
            line += f"\n{self.detail.rstrip()}"
        return line


class Fact(NamedTuple):
    """One line about a machine."""

    name: str
    text: str


Findings = Iterator[Finding]  # of a check
Lines = Iterator[Fact | Finding]  # of a check of a machine


def fault(code: str, where: str, what: str, fix: str) -> Finding:
    """Return an error. The parameters are the fields of `Finding`."""
    return Finding(where, what, fix, code=code)


def warning(code: str, where: str, what: str, fix: str) -> Finding:
    """Return a warning. The parameters are the fields of `Finding`."""
    return Finding(where, what, fix, level="warning", code=code)


def _with_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


class FindingError(Exception):
    """Findings that end the work: a config, a dataset or a file is wrong.

    It is pickled by its findings, because a transform runs in a process of `datasets`.
    """

    def __init__(self, *findings: Finding):
        super().__init__(*findings)
        self.findings = findings

    @property
    def finding(self) -> Finding:
        """The first finding."""
        return self.findings[0]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def finding_of(error: Exception, code: str, where: str, fix: str) -> Finding:
    """Return a finding for an error of a function that a config names.

    Args:
        error: The error of the function, or a FindingError that names a part of the config.
        code: The code of the finding.
        where: The place of the function's name in the config.
        fix: The fix, if the error has none.
    """
    if not isinstance(error, FindingError):
        return fault(code, where, str(error), fix)
    part = error.finding
    return fault(code, where, f"{part.where}: {part.what}", part.fix or fix)


@contextmanager
def exit_on_findings() -> Iterator[None]:
    """Turn a FindingError into the end of this process: its message only, with exit code 1.

    It stands where Axolotl, TRL or the command line calls this package. A traceback through their code
    says nothing about a wrong config. As a decorator, it covers the calls of a function.

    Raises:
        SystemExit: In place of a FindingError. `axolotl-grpo train` gets the message, too.
    """
    try:
        yield
    except FindingError as error:
        message = "\n".join(f"axolotl-grpo-plugin: {finding}" for finding in error.findings)
        write_end(message)
        raise SystemExit(message) from error


def write_end(message: str) -> None:
    """Pass the message that ends this run to `axolotl-grpo train`, if that started the run."""
    if file := os.environ.get(END):
        Path(file).write_text(message, encoding="utf-8")


def stop_on(findings: Iterable[Finding], file: str | None = None) -> None:
    """Log the warnings on the first rank, and raise all errors.

    Args:
        findings: The findings of checks.
        file: The config file, which the lines name.

    Raises:
        FindingError: If there are errors. They come without tracebacks, which `check` shows.
    """
    errors = []
    for finding in findings:
        if file and not finding.where.startswith(file):
            finding = finding._replace(where=f"{file}: {finding.where}")
        if finding.level == "error":
            errors.append(finding._replace(detail=""))
        elif finding.level == "warning" and is_first_rank():  # else each rank repeats it
            LOG.warning("axolotl-grpo-plugin: %s", finding)
    if errors:
        raise FindingError(*errors)


def stop(code: str, where: str, what: str, fix: str) -> NoReturn:
    """Raise a FindingError with one error. The parameters are the fields of `Finding`."""
    raise FindingError(fault(code, where, what, fix))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [""])[0]


def error_line(error: BaseException) -> str:
    """Return the class of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def shortened(text: str) -> str:
    """Return an error's text without the rest of long lines, and without the middle of many lines."""
    lines = []
    for line in text.splitlines(keepends=True):
        left_out = len(line) - _LONGEST_LINE
        if left_out > 0:
            end = line[len(line.rstrip("\r\n")) :]
            line = f"{line[:_LONGEST_LINE]} ... ({left_out:,} characters left out){end}"
        lines.append(line)
    if len(lines) > 2 * _END_LINES:
        middle = f"... ({len(lines) - 2 * _END_LINES:,} lines left out)\n"
        lines = [*lines[:_END_LINES], middle, *lines[-_END_LINES:]]
    return "".join(lines)


def raised(trace: str) -> str:
    """Return the last line of a traceback, with the place in the user's own code that raised it."""
    last = trace.rstrip().splitlines()[-1]
    for file, line in reversed(re.findall(r'File "(/.+?)", line (\d+)', trace)):
        if not _LIBRARIES.search(file):
            return f"{last} ({os.path.relpath(file)}, line {line})"
    return last


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"Did you mean `{close[0]}`?" if close else f"Valid names: {', '.join(known) or 'none'}"


def correct_path() -> str:
    """Return the fix for a path that does not exist."""
    return f"Correct the path, which is relative to the working folder {os.getcwd()}"

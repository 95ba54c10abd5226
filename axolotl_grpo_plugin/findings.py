"""`Finding`, the result of a check, and `ConfigError`, which ends a run before it starts."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

LOG = logging.getLogger(__name__)

# `axolotl-grpo train` sets this variable for the trainer: the file for the line that ends the run.
END = "AXOLOTL_GRPO_END"
_OURS = re.escape(f"{Path(__file__).parent}{os.sep}")
_LIBRARIES = re.compile(f"/lib/python|/multiprocessing/|{_OURS}")

Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One fault of a config or a dataset.

    where: file and key, or dataset and row. what: the fault. fix: how to repair it, "" if `what` says it.
    detail: the original traceback, if there is one. level: an error ends the run. A warning is for a
    config that trains, but probably not as intended. A skipped check needs something that this machine
    lacks. code: a short name of the fault, such as "unknown-key". Callers and tests use it, not the sentence.
    """

    where: str
    what: str
    fix: str
    detail: str = ""
    level: Level = "error"
    code: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: {_with_stop(self.what)}"
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
    """A finding that ends the work on one file or tokenizer."""

    def __init__(self, where: str, what: str, fix: str, code: str = ""):
        self.finding = Finding(where, what, fix, code=code)
        super().__init__(str(self.finding))


class FixableError(TypeError):
    """A wrong value of a config or a dataset, which knows how to repair it. what, fix: as in `Finding`."""

    def __init__(self, what: str, fix: str = ""):
        super().__init__(what, fix)  # both, so that it can be pickled
        self.what, self.fix = what, fix

    def __str__(self) -> str:
        return f"{self.what}. {_with_stop(self.fix)}" if self.fix else self.what


class ConfigError(SystemExit):
    """The run must not start. Ends the process with the message only, exit code 1.

    It is a SystemExit, because a traceback through Axolotl's loader says nothing about a typo.
    findings: the errors that checks found.
    """

    findings: Sequence[Finding] = ()


def fault_of(error: BaseException, fix: str) -> tuple[str, str]:
    """Return what is wrong and its fix for a finding. fix: for an error that has none of its own."""
    if isinstance(error, FixableError):
        return error.what, error.fix
    return str(error), fix


def write_end(message: str) -> None:
    """Pass the message that ends this run to `axolotl-grpo train`, if that started the run."""
    if file := os.environ.get(END):
        Path(file).write_text(message, encoding="utf-8")


def passed_on(error: ConfigError) -> ConfigError:
    """Return the error that ends this run, after `write_end` has passed its message."""
    write_end(str(error))
    return error


def stop_on(findings: Iterable[Finding], cfg: Mapping[str, Any] | None = None) -> None:
    """Log the warnings, and raise ConfigError with all errors if there are any.

    cfg: a config whose file the lines name.
    """
    file = cfg.get("axolotl_config_path") if cfg else None
    errors = []
    for finding in findings:
        if file and not finding.where.startswith(file):
            finding = finding._replace(where=f"{file}: {finding.where}")
        if finding.level == "error":
            errors.append(finding._replace(detail=""))  # `check` shows the tracebacks
        elif finding.level == "warning":
            LOG.warning("axolotl-grpo-plugin: %s", finding)
    if errors:
        raise _end(errors)


def stop(code: str, where: str, what: str, fix: str) -> NoReturn:
    """Raise ConfigError with one error. The parameters are the fields of `Finding`."""
    raise _end([fault(code, where, what, fix)])


def _end(errors: Sequence[Finding]) -> ConfigError:
    error = ConfigError("\n".join(f"axolotl-grpo-plugin: {finding}" for finding in errors))
    error.findings = errors
    return passed_on(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [""])[0]


def error_line(error: BaseException) -> str:
    """Return the class of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def raised(trace: str) -> str:
    """Return the last line of a traceback, with the place in the user's own code that raised it."""
    last = trace.rstrip().splitlines()[-1]
    for file, line in reversed(re.findall(r'File "(/.+?)", line (\d+)', trace)):
        if not _LIBRARIES.search(file):
            return f"{last} ({os.path.relpath(file)}, line {line})"
    return last


def at(cfg: Mapping[str, Any], key: object) -> str:
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

"""What a check reports (`Finding`), and the error that ends a run before it starts."""

import logging
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

LOG = logging.getLogger(__name__)


Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One fault.

    where: file and key, or dataset and row. what: the fault. fix: the fix. detail: the original
    traceback, if there is one. level: an error ends the run. A warning is for a config that trains, but
    seldom as meant. A skipped check could not be made here, and fix says what it needs.
    """

    where: str
    what: str
    fix: str
    detail: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        line = f"{self.where}: {self.what.rstrip('.')}. {self.fix.rstrip('.')}."
        return f"{line}\n{self.detail.rstrip()}" if self.detail else line


class ConfigError(SystemExit):
    """The run must not start. Ends the process with the message only, exit code 1.

    It is a SystemExit, because a traceback through Axolotl's loader says nothing about a typo.
    findings: the errors that checks found.
    """

    findings: tuple[Finding, ...] = ()


def stop_on(findings: Iterable[Finding]) -> None:
    """Log the warnings, and raise ConfigError with all errors if there are any."""
    errors = []
    for finding in findings:
        if finding.level == "error":
            errors.append(finding)
        elif finding.level == "warning":
            LOG.warning("axolotl-grpo-plugin: %s", finding)
    if errors:
        raised = ConfigError("\n".join(f"axolotl-grpo-plugin: {each}" for each in errors))
        raised.findings = tuple(errors)
        raise raised


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [""])[0]


def at(cfg: Any, key: Any) -> str:
    """Return a place in a config for a finding."""
    file = cfg.get("axolotl_config_path")
    return f"{file}: {key}" if file else str(key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}" if close else f"There are: {', '.join(known) or 'none'}"

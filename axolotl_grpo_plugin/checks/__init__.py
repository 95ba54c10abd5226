"""Checks that run before anything slow starts: one function per check, which returns findings."""

import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple

LOG = logging.getLogger(__name__)


Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One fault.

    where: file and key, or dataset and row. what: the fault. mend: the fix. detail: the original
    traceback, if there is one. level: an error ends the run. A warning is for a config that trains, but
    seldom as meant. A skipped check could not be made here, and mend says what it needs.
    """

    where: str
    what: str
    mend: str
    detail: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        line = f"{self.where}: {self.what.rstrip('.')}. {self.mend.rstrip('.')}."
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

"""What can be known before anything slow starts: one function a check, each returning findings."""

import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple

LOG = logging.getLogger(__name__)


Level = Literal["error", "warning", "skipped"]


class Finding(NamedTuple):
    """One thing that is wrong.

    where: file and key, or dataset and row. what: what is wrong there. mend: what to do.
    detail: the original traceback, where there is one. level: an error ends the run; a warning is
    for something that trains, but seldom as meant; skipped is a check that could not be made here,
    and mend says what it needs.
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
    """A run that must not start: ends the process with the message alone, exit code 1.

    A SystemExit, because a traceback through Axolotl's loader says nothing about a typo.
    findings: the errors, where checks found them.
    """

    findings: tuple[Finding, ...] = ()


def stop_on(findings: Iterable[Finding]) -> None:
    """Raise ConfigError with all errors, a paragraph each, if there are any; log the warnings."""
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
    """What an error says, on one line."""
    return (str(error).splitlines() or [""])[0]

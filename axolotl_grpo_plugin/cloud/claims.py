"""One run at a time in an output folder, also while its image is built or it waits for a GPU.

A Modal Dict keeps the claims, because it adds an entry only if there is none. A Volume cannot do that.
"""

import time
from contextlib import suppress
from typing import Any, NamedTuple

import modal

from axolotl_grpo_plugin.findings import stop

RUNS = "axolotl-grpo-runs"  # the Dict: the name of a folder -> the fields of a Claim
BUILDING = 3600.0  # seconds after which a run without a call has ended before its start


class Place(NamedTuple):
    """A folder on a Volume. path: "/" is the root."""

    volume: str
    path: str


class Claim(NamedTuple):
    """A run that was started. call: Modal's id of its call, None before Modal has the call."""

    config: str
    since: float
    call: str | None = None

    def runs(self) -> bool:
        """Return whether the run has not ended. Modal forgets a call after some days."""
        if self.call is None:
            return time.time() < self.since + BUILDING
        try:
            modal.FunctionCall.from_id(self.call).get(timeout=0)
        except Exception as error:  # get raises the call's own error
            return isinstance(error, TimeoutError)
        return False


class Claims:
    """The claim of one folder. config: of the own run. name: the folder's, for an error."""

    def __init__(self, place: Place, name: str, config: str):
        self._key = "/".join(place)
        self._name = name
        self._config = config
        self._dict: modal.Dict = modal.Dict.from_name(RUNS, create_if_missing=True)

    def take(self) -> None:
        """Claim the folder before anything starts. Raises: FindingError if another run has it."""
        while not self._dict.put(self._key, self._own(), skip_if_exists=True):
            self._refuse(self._dict.get(self._key))
            self._dict.pop(self._key, None)  # its run has ended

    def keep(self, call: str | None) -> None:
        """Note the call of the own run. Raises: FindingError if another run has the folder."""
        other = self._dict.get(self._key)
        if other and other["call"] not in (None, call):
            self._refuse(other)
        self._dict.put(self._key, self._own(call))

    def release(self) -> None:
        """Give the folder back, because no call was made."""
        with suppress(modal.Error, OSError):  # the claim ends by itself after BUILDING seconds
            self._dict.pop(self._key, None)

    def _own(self, call: str | None = None) -> dict[str, Any]:
        return Claim(self._config, time.time(), call)._asdict()

    def _refuse(self, fields: dict[str, Any] | None) -> None:
        """Raise FindingError if the run of a claim has not ended."""
        if not fields:
            return
        other = Claim(**fields)
        if not other.runs():
            return
        what = f"a run of {other.config} is under way there"
        fix = "Wait for its end, or stop it: `modal app list`, then `modal app stop`"
        if other.call is None:
            what = f"a run of {other.config} was started, and its image is not yet built"
            until = time.strftime("%H:%M", time.localtime(other.since + BUILDING))
            fix += f". If its command was killed, start again after {until}"
        stop("run-under-way", self._name, what, fix)

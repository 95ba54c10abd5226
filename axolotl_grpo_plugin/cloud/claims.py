"""One run at a time in an output folder, also while it waits for a GPU.

A Modal Dict keeps the claims, because it adds an entry only if there is none. A Volume cannot do that.
"""

from typing import Any, NamedTuple

import modal
from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError as Terminated
from modal import exception

from axolotl_grpo_plugin.findings import error_line, stop

# Errors of a connection that may come back. The client raises grpclib's own error, too.
LOST = (Terminated, exception.ConnectionError, exception.ServiceError, exception.InternalError)
RUNS = "axolotl-grpo-runs"  # the Dict: the name of a folder -> {"config": its path, "call": Modal's id}


class Place(NamedTuple):
    """A folder on a Volume. path: "/" is the root."""

    volume: str
    path: str


def check_free(place: Place) -> None:
    """Check that no run is under way in a folder.

    Raises:
        FindingError: A run has the folder, or Modal does not say whether it has ended.
    """
    _refuse_if_running(place, _claims().get("/".join(place)))


def claim(place: Place, config: str, call: str | None) -> None:
    """Note that a call trains a config in a folder. The call itself may note it again.

    Raises:
        FindingError: Another run has the folder, or Modal does not say whether it has ended.
    """
    claims = _claims()
    key = "/".join(place)
    while not claims.put(key, {"config": config, "call": call}, skip_if_exists=True):
        other = claims.get(key)
        if other and other["call"] == call:
            return
        _refuse_if_running(place, other)
        claims.pop(key, None)  # that run has ended


def _claims() -> modal.Dict:
    return modal.Dict.from_name(RUNS, create_if_missing=True)


def _refuse_if_running(place: Place, entry: dict[str, Any] | None) -> None:
    if entry is None:
        return
    where = f"{place.path} on the Volume {place.volume}"
    try:
        modal.FunctionCall.from_id(entry["call"]).get(timeout=0)
    except exception.NotFoundError:
        return  # Modal has forgotten the call
    except TimeoutError:
        what = f"a run of {entry['config']} is under way there"
        fix = "Wait for its end, or stop it: `modal app list`, then `modal app stop`"
        stop("run-under-way", where, what, fix)
    except (*LOST, GRPCError, ConnectionError) as error:
        what = (
            f"Modal does not say whether the run of {entry['config']} there has ended "
            f"({error_line(error)})"
        )
        stop("run-unknown", where, what, "Start again when Modal answers")
    except Exception:  # the call's own error
        return

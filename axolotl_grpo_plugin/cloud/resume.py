"""Whether a run goes on, starts, or must not start: what its output folder on a Volume says."""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

from axolotl_grpo_plugin.checks import Finding, stop_on

STATE = "cloud-run.json"


class State(TypedDict):
    """What STATE holds. run: a digest of what was asked for. config: its path. finished: exit code 0."""

    run: str
    config: str
    finished: bool


class Place(NamedTuple):
    """Where an output_dir is: as the config has it; the Volume's name; the path there, `/` for all of it."""

    output: str
    volume: str
    path: str


def place_of(output: str, volumes: Mapping[str, str], work: str) -> Place | None:
    """The place of an output_dir that counts from the folder `work`; None: it is on no Volume.

    volumes: mount point -> name.

    >>> place_of("./outputs/a", {"/workspace/outputs": "runs"}, "/workspace")
    Place(output='./outputs/a', volume='runs', path='a')
    """
    folder = posixpath.normpath(posixpath.join(work, output))
    above = [each for each in volumes if f"{folder}/".startswith(f"{each.rstrip('/')}/")]
    if not above:
        return None
    mount = max(above, key=len)
    path = posixpath.relpath(folder, mount)
    return Place(output, volumes[mount], "/" if path == "." else path)


def read_state(text: str, place: Place) -> State:
    """What STATE says. ConfigError where it is not what `remote.run` writes."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.keys() != State.__required_keys__:
        _refuse(place, f"{STATE} cannot be read", None)
    return State(run=found["run"], config=found["config"], finished=found["finished"])


def write_state(folder: Path, state: State) -> None:
    """In one move: a commit of the Volume may come at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps(state), encoding="utf-8")
    new.replace(folder / STATE)


def verdict(place: Place, state: State | None, run: str, last: str | None) -> str | None:
    """The checkpoint that a run with this digest resumes from; None: it starts from the beginning.

    state: of the run that was there before, if one was. last: the newest complete checkpoint there,
    by its folder's name. ConfigError where a start would overwrite what is finished, or another's.
    """
    if state is None:
        if last:
            _refuse(place, f"{last} is there, and no {STATE} that says whose it is", last)
        return None
    if state["finished"]:
        _refuse(place, f"a finished run of {state['config']} is there", last)
    if last and state["run"] != run:
        what = f"a run of {state['config']} got to {last} with another config text or other options"
        _refuse(place, what, last)
    return last


def _refuse(place: Place, what: str, last: str | None) -> None:
    mends = ["Give this run another --output-dir="]
    if last:
        mends.append(
            f"go on from there with --resume-from-checkpoint={posixpath.join(place.output, last)}"
        )
    mends.append(f"or delete it: `modal volume rm -r {place.volume} {place.path}`")
    where = f"{place.output} on the Volume {place.volume}"
    stop_on([Finding(where, what, ", ".join(mends))])

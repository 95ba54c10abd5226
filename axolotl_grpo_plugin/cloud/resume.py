"""Whether a run goes on, starts, or must not start: what its output folder on a Volume says."""

import json
import posixpath
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from axolotl_grpo_plugin.findings import Finding, stop_on

STATE = "cloud-run.json"


class State(TypedDict):
    """What STATE holds.

    run: a digest of what was asked for. config: its path. finished: exit code 0. call: Modal's id of
    the function call, the same one after a preemption.
    """

    run: str
    config: str
    finished: bool
    call: NotRequired[str | None]


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
    folder = posixpath.normpath(f"/{posixpath.join(work, output).lstrip('/')}")
    above = [each for each in volumes if f"{folder}/".startswith(f"{each.rstrip('/')}/")]
    if not above:
        return None
    mount = max(above, key=len)
    path = posixpath.relpath(folder, mount)
    return Place(output, volumes[mount], "/" if path == "." else path)


def read_state(text: str) -> State | None:
    """What STATE says; None where it is not what `remote.run` writes: then it says of nobody."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or not found.keys() >= State.__required_keys__:
        return None
    run, config, finished = found["run"], found["config"], found["finished"]
    return State(run=run, config=config, finished=finished, call=found.get("call"))


def write_state(folder: Path, state: State) -> None:
    """In one move: a commit of the Volume may come at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps(state), encoding="utf-8")
    new.replace(folder / STATE)


def verdict(
    place: Place, state: State | None, run: str, last: str | None, model: bool
) -> str | None:
    """The checkpoint that a run with this digest resumes from; None: it starts from the beginning.

    state: of the run that was there before, if one was. last: the newest complete checkpoint there,
    by its folder's name. model: weights are there, saved at an end. ConfigError where a start would
    overwrite what is finished, or another's.
    """
    there = last or ("a model" if model else None)
    if state is None:
        if there:
            _refuse(place, f"{there} is there, and no {STATE} that says whose it is", last)
        return None
    if state["finished"]:
        _refuse(place, f"a finished run of {state['config']} is there", last)
    if there and state["run"] != run:
        what = (
            f"a run of {state['config']} got to {there} with another config text or other options"
        )
        _refuse(place, what, last)
    return last


def refuse_a_second(place: Place, state: State) -> None:
    """Raise the ConfigError of a start where a run is under way: both would write there."""
    what = f"a run of {state['config']} is under way there"
    fix = "Wait for its end, or stop it: `modal app list` names it, `modal app stop` ends it"
    stop_on([Finding(_where(place), what, fix)])


def _refuse(place: Place, what: str, last: str | None) -> None:
    mends = ["Give this run another --output-dir="]
    if last:
        checkpoint = shlex.quote(posixpath.join(place.output, last))
        mends.append(f"go on from there with --resume-from-checkpoint={checkpoint}")
    here = shlex.join([place.volume, place.path])
    delete = f"delete {place.volume}" if place.path == "/" else f"rm -r {here}"
    mends.append(f"or delete it: `modal volume {delete}`")
    stop_on([Finding(_where(place), what, ", ".join(mends))])


def _where(place: Place) -> str:
    return f"{place.output} on the Volume {place.volume}"

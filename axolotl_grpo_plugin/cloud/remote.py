"""What runs in the container: `run`, which Modal's runtime imports by name and calls."""

import hashlib
import json
import os
import posixpath
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from axolotl_grpo_plugin.cloud.checkpoints import holds_model, missing, newest_first
from axolotl_grpo_plugin.cloud.process import to_the_end
from axolotl_grpo_plugin.cloud.resume import (
    STATE,
    State,
    place_of,
    read_state,
    verdict,
    write_state,
)
from axolotl_grpo_plugin.findings import ConfigError, first_line
from axolotl_grpo_plugin.serving.plan import AXOLOTL
from axolotl_grpo_plugin.serving.supervisor import say

PARCEL = Path("/parcel")  # the working folder's files, as sent
WORK = Path("/workspace")  # where the command runs


class Job(TypedDict):
    """What is to be done: plain data.

    command: words after `axolotl`: ["grpo", "train"] or ["preprocess"]. config: its path, from
    the working folder. text: what stands in it. words: options. after: the launcher's, behind a
    lone --. output: output_dir, as config and options have it. volumes: mount point -> name.
    resume: False where config or options say themselves how to resume; that holds for the first time.
    """

    command: list[str]
    config: str
    text: str
    words: list[str]
    after: list[str]
    output: str
    volumes: dict[str, str]
    resume: bool


def run(job: Job) -> int:
    """Do the job. Returns Axolotl's exit code; 128 + n where signal n ended it, 1 where it is refused.

    Preemption, the end of the app and a cancelled call come as an exception (KeyboardInterrupt,
    modal's InputCancellation): the trainer saves, all ends, the exception goes on, and Modal commits.
    """
    trains = job["command"][-1] == "train"
    unpack(job)
    try:
        more = _resume(job) if trains else []
    except ConfigError as refused:
        print(refused, file=sys.stderr, flush=True)
        return 1
    if trains:
        _note(job, finished=False)
    code = to_the_end([*AXOLOTL, *words(job, *more)])
    if trains and code == 0:
        _note(job, finished=True)
    commit(job["volumes"].values())
    return code


def words(job: Job, *more: str) -> list[str]:
    """The words after `axolotl`; more: further options."""
    after = ["--", *job["after"]] if job["after"] else []
    return [*job["command"], job["config"], *job["words"], *more, *after]


def unpack(job: Job) -> None:
    """Put the files that were sent, and the config, into WORK, and go there."""
    if PARCEL.is_dir():  # a parcel without a file makes no folder
        shutil.copytree(PARCEL, WORK, dirs_exist_ok=True)
    config = WORK / job["config"]
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(job["text"], encoding="utf-8")
    os.chdir(WORK)


def commit(volumes: Iterable[str]) -> None:
    """Keep what is on these Volumes: Modal's own last commit comes after the call's result."""
    import modal

    for name in volumes:
        try:
            modal.Volume.from_name(name).commit()
        except (RuntimeError, modal.Error) as error:  # a file that is open there, for one
            say(f"{name} is committed only when the container ends: {first_line(error)}")


def _resume(job: Job) -> list[str]:
    """The option that resumes this run, where it has begun before. ConfigError where it must not start."""
    place = place_of(job["output"], job["volumes"], str(WORK))
    output = WORK / job["output"]
    if place is None or not output.is_dir():
        return []
    file = output / STATE
    state = read_state(file.read_text(errors="replace")) if file.exists() else None
    again = state and not state["finished"] and state["run"] == digest(job)
    if not job["resume"] and not again:
        return []
    last, names = None, os.listdir(output)
    for name in newest_first(names):
        lacks = missing(output / name)
        if not lacks:
            last = name
            break
        say(f"{name} is passed over: {lacks}")
    last = verdict(place, state, digest(job), last, holds_model(names))
    if last is None:
        return []
    say(f"this run goes on from {last}")
    return [f"--resume-from-checkpoint={posixpath.join(job['output'], last)}"]


def digest(job: Job) -> str:
    """Equal only for runs that ask for the same: command, config's text, options."""
    asked = [job["command"], job["text"], job["words"], job["after"]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def call_id() -> str | None:
    """Modal's id of the function call that runs here."""
    import modal

    return modal.current_function_call_id()


def _note(job: Job, finished: bool) -> None:
    state = State(run=digest(job), config=job["config"], finished=finished, call=call_id())
    write_state(WORK / job["output"], state)

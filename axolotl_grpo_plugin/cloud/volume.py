"""A run's output folder on its Volume, seen from here."""

import posixpath
import shlex
from pathlib import PurePosixPath

import click
import modal

from axolotl_grpo_plugin.cloud import resume
from axolotl_grpo_plugin.cloud.checkpoints import holds_model, newest_first
from axolotl_grpo_plugin.cloud.remote import WORK, Job, digest


def ask(job: Job) -> None:
    """Say what a run of this job goes on from, as remote.run finds it. ConfigError if it must not start."""
    place = resume.place_of(job["output"], job["volumes"], str(WORK))
    if place is None or not job["resume"]:
        return
    volume = modal.Volume.from_name(place.volume, create_if_missing=True)
    try:
        there = [PurePosixPath(entry.path).name for entry in volume.listdir(place.path)]
    except modal.exception.NotFoundError:
        return  # a new folder
    state = None
    if resume.STATE in there:
        text = b"".join(volume.read_file(posixpath.join(place.path, resume.STATE)))
        state = resume.read_state(text.decode(errors="replace"))
    if state and not state["finished"] and _runs(state.get("call")):
        resume.refuse_a_second(place, state)
    last = next(iter(newest_first(there)), None)
    last = resume.verdict(place, state, digest(job), last, holds_model(there))
    if last:
        click.echo(f"  this run goes on from {last}, or an earlier one if that is incomplete")


def _runs(call: str | None) -> bool:
    """Whether a function call has no result yet. Modal forgets one that is some days old."""
    if call is None:
        return False
    try:
        modal.FunctionCall.from_id(call).get(timeout=0)
    except TimeoutError:
        return True
    except Exception:  # what it ended with: anything
        return False
    return False


def fetching(job: Job) -> str:
    """The line that copies the output folder to where a training here would have written it.

    Modal's command puts a folder into one that is there, and nowhere else.
    """
    place = resume.place_of(job["output"], job["volumes"], str(WORK))
    if place is None:
        return ""
    here = PurePosixPath(job["output"])
    folder = here if place.path == "/" else here.parent
    if here.is_absolute():
        folder = PurePosixPath(".")
    get = shlex.join(["modal", "volume", "get", place.volume, place.path, str(folder)])
    return get if str(folder) == "." else f"mkdir -p {shlex.quote(str(folder))} && {get}"

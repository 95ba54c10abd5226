"""The function in the container, and the decision whether a run may start, or continues."""

import hashlib
import json
import os
import posixpath
import re
import shlex
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import modal

from axolotl_grpo_plugin.cloud.claims import Place, claim
from axolotl_grpo_plugin.cloud.settings import UPLOAD, WORK, Mounts
from axolotl_grpo_plugin.findings import FindingError, stop
from axolotl_grpo_plugin.output.checkpoints import newest_whole
from axolotl_grpo_plugin.output.lock import LOCK
from axolotl_grpo_plugin.processes import adopt_orphans, children, shell_code, spawn
from axolotl_grpo_plugin.serving.plan import AXOLOTL

SAVING = 20  # seconds from an interruption to the end; Modal kills the container after 30
STATE = "cloud-run.json"  # in output_dir: a `State`
_MODEL = re.compile(r".*\.safetensors|(pytorch|adapter)_model.*\.bin")


class CloudJob(NamedTuple):
    """One training in a container.

    config: its path in the working folder. text: its content. words: the options. after: the words
    behind --. output: output_dir. volumes: mount point -> name. resume: False if config or options say
    how to resume.
    """

    config: str
    text: str
    words: list[str]
    after: list[str]
    output: str
    volumes: dict[str, str]
    resume: bool

    def line(self, *more: str) -> list[str]:
        """Return the words after `axolotl-grpo`. more: further options."""
        line = ["train", self.config, *self.words, *more]
        if self.after:
            line += ["--", *self.after]
        return line

    def digest(self) -> str:
        """Return a hash of the config's text and the options."""
        text = json.dumps([self.text, self.words, self.after])
        return hashlib.sha256(text.encode()).hexdigest()

    def resume_from(self, checkpoint: str) -> str:
        """Return the option that continues from a checkpoint of the output folder."""
        return f"--resume-from-checkpoint={posixpath.join(self.output, checkpoint)}"

    @property
    def place(self) -> Place | None:
        """The output folder on its Volume, None if it is on no Volume."""
        return place_of(self.output, self.volumes)


class State(NamedTuple):
    """A run. run: its job's digest. finished: with exit code 0."""

    run: str
    config: str
    finished: bool


def run(job: CloudJob) -> int:
    """Do the job. Return Axolotl's exit code, 128 + n after signal n, 1 if the start is refused.

    Modal interrupts with an exception. The trainer saves, and Modal ends the single-use container.
    """
    if UPLOAD.is_dir():  # an empty upload makes no folder
        shutil.copytree(UPLOAD, WORK, dirs_exist_ok=True)
    config = WORK / job.config
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(job.text, encoding="utf-8")
    os.chdir(WORK)
    try:
        if job.place:
            with suppress(modal.Error, OSError):  # Modal's servers do not answer
                claim(job.place, job.config, modal.current_function_call_id())
        # Of a container that was killed: no other one runs, and its host cannot be asked.
        (WORK / job.output / LOCK).unlink(missing_ok=True)
        last = look_here(job)
    except FindingError as refused:
        print(f"axolotl-grpo-plugin: {refused}", flush=True)
        return 1
    more = []
    if last:
        more.append(job.resume_from(last))
        print(f"axolotl-grpo-plugin: this run continues from {last}", flush=True)
    write_state(job, False)
    code = to_the_end([*AXOLOTL, "grpo", *job.line(*more)])
    if code == 0:
        write_state(job, True)
    for name in job.volumes.values():  # Modal's own last commit comes after the call's result
        with suppress(RuntimeError, modal.Error):  # a file is open there, for example
            modal.Volume.from_name(name).commit()
    return code


def to_the_end(command: list[str]) -> int:
    """Run a command and return its exit code. After an exception it has SAVING seconds to save."""
    adopt_orphans()  # a launcher may end before its ranks
    process = spawn(command, {**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        # The kernel may give a signal to the thread of Modal's client. A blocking wait would not end.
        while process.poll() is None:
            time.sleep(0.1)
        code = process.returncode
    except BaseException:
        try:
            _let_save(process.pid)
        except BaseException:  # Modal has interrupted again, before this was ignored
            _let_save(process.pid)
        raise
    if code == -signal.SIGKILL:
        print("axolotl was killed, most often because memory ran out. Raise memory in cloud.yaml.")
    return shell_code(code)


def _let_save(group: int) -> None:
    """Interrupt a process group, and wait until it has saved, or SAVING seconds are over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.killpg(group, signal.SIGINT)  # as Ctrl-C in a terminal
    deadline = time.monotonic() + SAVING
    while children(os.getpid(), recursive=True) and time.monotonic() < deadline:
        time.sleep(0.1)


def place_of(output: str, volumes: Mounts) -> Place | None:
    """Return the place of an output_dir, None if it is on no Volume."""
    # normpath keeps two leading slashes, but not three.
    folder = PurePosixPath(posixpath.normpath(f"//{WORK / output}"))
    for mount in sorted(volumes, key=len, reverse=True):  # a Volume may be mounted inside another
        if folder.is_relative_to(mount):
            path = str(folder.relative_to(mount))
            return Place(volumes[mount], "/" if path == "." else path)
    return None


def write_state(job: CloudJob, finished: bool) -> None:
    """Write STATE in one move, because Modal may commit the Volume at any time."""
    state = State(job.digest(), job.config, finished)
    file = WORK / job.output / STATE
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(state._asdict()), encoding="utf-8")
    unfinished.replace(file)


def decide(
    job: CloudJob, place: Place, names: Sequence[str], text: bytes, output: Path | None = None
) -> str | None:
    """Return the checkpoint that a run continues from, if any. Raises: FindingError.

    names, text: the files in the output folder, and the content of STATE. output: the folder itself, None
    if this machine cannot read its checkpoints.
    """
    try:
        state = State(**json.loads(text))
    except (ValueError, TypeError):
        state = None  # no file, or a foreign one
    same = state is not None and state.run == job.digest()
    # After an interruption, the run's own checkpoints are newer than the one that the user named.
    if not job.resume and not (state and same and not state.finished):
        return None
    last = there = _last_checkpoint(names, output)
    if not last and any(map(_MODEL.fullmatch, names)):
        there = "a model"
    if state and state.finished:
        what = f"a finished run of {state.config} is there"
    elif same or not there:
        return last
    elif state:
        what = f"a run of {state.config} with another config or other options wrote {there}"
    else:
        what = f"{there} is there without {STATE}, so its run is unknown"
    fix = "Use another --output-dir="
    if last:
        fix += f", continue with {shlex.quote(job.resume_from(last))}"
    delete = f"delete {place.volume}" if place.path == "/" else f"rm -r {shlex.join(place)}"
    fix += f", or delete it: `modal volume {delete}`"
    stop("used-output", f"{job.output} on the Volume {place.volume}", what, fix)


def _last_checkpoint(names: Sequence[str], output: Path | None) -> str | None:
    """Return the newest checkpoint, or the newest whole one if they can be read."""
    if output is not None:
        newest = newest_whole(output).folder
        return newest.name if newest else None
    steps = [int(name[11:]) for name in names if re.fullmatch("checkpoint-[0-9]+", name)]
    return f"checkpoint-{max(steps)}" if steps else None


def look_here(job: CloudJob) -> str | None:
    """Decide in the container, where checkpoints can be read."""
    place = job.place
    output = WORK / job.output
    if place is None or not output.is_dir():
        return None
    names = os.listdir(output)
    text = b""
    if STATE in names:
        text = (output / STATE).read_bytes()
    return decide(job, place, names, text, output)


def look(job: CloudJob) -> str | None:
    """Decide from the user's machine, before anything starts."""
    place = job.place
    if place is None or not job.resume:
        return None
    volume = modal.Volume.from_name(place.volume, create_if_missing=True)
    try:
        names = [posixpath.basename(entry.path) for entry in volume.listdir(place.path)]
    except modal.exception.NotFoundError:
        return None  # a new folder
    text = b""
    if STATE in names:
        text = b"".join(volume.read_file(posixpath.join(place.path, STATE)))
    return decide(job, place, names, text)


def fetch_line(output: str, volumes: Mounts) -> str:
    """Return the command that copies the output folder to its place on this machine."""
    place = place_of(output, volumes)
    assert place, "preflight.check_output has found it on a Volume"
    folder = PurePosixPath(output)
    if place.path != "/":  # the root of a Volume arrives without a folder of its own
        folder = folder.parent
    if folder.is_absolute():  # such a place exists in the container only
        folder = PurePosixPath()
    command = shlex.join(["modal", "volume", "get", *place, str(folder)])
    if folder.name:
        return f"mkdir -p {shlex.quote(str(folder))} && {command}"
    return command

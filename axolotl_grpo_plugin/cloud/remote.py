"""What runs in the container: `run`, which Modal's runtime imports by name and calls."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

from axolotl_grpo_plugin.checks import ConfigError
from axolotl_grpo_plugin.cloud.checkpoints import missing, newest_first
from axolotl_grpo_plugin.cloud.resume import STATE, State, digest, place_of, read_state, verdict
from axolotl_grpo_plugin.serving.plan import AXOLOTL
from axolotl_grpo_plugin.serving.supervisor import say
from axolotl_grpo_plugin.serving.tree import adopt_orphans, children, spawn

PARCEL = Path("/parcel")  # the working folder's files, as sent
WORK = Path("/workspace")  # where the command runs
SAVING = 20  # seconds from an interruption to the kill; Modal kills the container after 30
KILLING = 4  # seconds more, for what a driver that hangs keeps from ending


class Job(TypedDict):
    """What is to be done: plain data.

    command: words after `axolotl`: ["grpo", "train"] or ["preprocess"]. config: its path, from
    the working folder. text: what stands in it. words: options. after: the launcher's, behind a
    lone --. output: output_dir, as config and options have it. volumes: mount point -> name.
    resume: False where config or options say themselves how to resume.
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
    modal's InputCancellation): the trainer saves, all ends, and the exception goes on.
    """
    trains = job["command"][-1] == "train"
    unpack(job)
    try:
        more = _resume(job) if trains and job["resume"] else []
    except ConfigError as refused:
        print(refused, file=sys.stderr, flush=True)
        return 1
    if trains:
        _note(job, finished=False)
    adopt_orphans()
    process = spawn([*AXOLOTL, *words(job, *more)], {**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        code = process.wait()
        if trains and code == 0:
            _note(job, finished=True)
    finally:
        with _undisturbed():
            _end(process)
            commit(job["volumes"].values())
    return _said(code)


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
        modal.Volume.from_name(name).commit()


def _resume(job: Job) -> list[str]:
    """The option that resumes this run, where it has begun before. ConfigError where it must not start."""
    place = place_of(job["output"], job["volumes"], str(WORK))
    output = WORK / job["output"]
    if place is None or not output.is_dir():
        return []
    last = None
    for name in newest_first(os.listdir(output)):
        lacks = missing(output / name)
        if not lacks:
            last = name
            break
        say(f"{name} is passed over: {lacks}")
    file = output / STATE
    state = read_state(file.read_text(encoding="utf-8"), place) if file.exists() else None
    last = verdict(place, state, digest_of(job), last)
    if last is None:
        return []
    say(f"this run goes on from {last}")
    return [f"--resume-from-checkpoint={job['output']}/{last}"]


def digest_of(job: Job) -> str:
    """What tells this run from others in the same folder."""
    return digest(job["command"], job["text"], job["words"], job["after"])


def _note(job: Job, finished: bool) -> None:
    """Write STATE, in one move: a commit may come at any time."""
    file = WORK / job["output"] / STATE
    file.parent.mkdir(parents=True, exist_ok=True)
    state = State(run=digest_of(job), config=job["config"], finished=finished)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(state), encoding="utf-8")
    new.replace(file)


def _said(code: int) -> int:
    """An exit code as a shell has it; a signal's is put in words."""
    number = code - 128 if code > 128 else -code
    if number not in signal.valid_signals():
        return code
    name = signal.Signals(number).name
    why = " (memory ran out, most often: raise `memory` in cloud.yaml)" if name == "SIGKILL" else ""
    say(f"axolotl was ended by {name}{why}")
    return 128 + number


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The signals by which Modal interrupts are not heard: it is ending."""
    ours = (signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it save, as Ctrl-C in a terminal does, and kill what is left after SAVING seconds."""
    kill = time.monotonic()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        kill += SAVING
    while (left := children(os.getpid(), recursive=True)) and time.monotonic() < kill + KILLING:
        for pid in left if time.monotonic() > kill else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)

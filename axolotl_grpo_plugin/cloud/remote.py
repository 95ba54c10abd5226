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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import modal

from axolotl_grpo_plugin.cloud.settings import UPLOAD, WORK
from axolotl_grpo_plugin.findings import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.serving.plan import AXOLOTL
from axolotl_grpo_plugin.serving.processes import adopt_orphans, children, spawn

SAVING = 20  # seconds from an interruption to the end; Modal kills the container after 30
# One command in a container: command (words after `axolotl`), config (its path), text (its content),
# words (options), after (those after --), output (output_dir), volumes (mount point -> name), resume
# (False if config or options say how to resume).
type Job = dict[str, Any]
# A file with run (the job's digest), config (its path), finished (exit code 0), call (Modal's id).
STATE = "cloud-run.json"


def run(job: Job) -> int:
    """Do the job. Return Axolotl's exit code, 128 + n after signal n, 1 if the start is refused.

    Modal interrupts with an exception. The trainer saves, and Modal ends the single-use container.
    """
    if UPLOAD.is_dir():  # an empty upload makes no folder
        shutil.copytree(UPLOAD, WORK, dirs_exist_ok=True)
    config = WORK / job["config"]
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(job["text"], encoding="utf-8")
    os.chdir(WORK)
    trains, more = job["command"][-1] == "train", list[str]()
    if trains:
        try:
            last = look_here(job, WORK)
        except ConfigError as refused:
            print(refused, flush=True)
            return 1
        if last:
            more = [f"--resume-from-checkpoint={posixpath.join(job['output'], last)}"]
            print(f"axolotl-grpo-plugin: this run continues from {last}", flush=True)
        write_state(WORK, job, False)
    code = to_the_end([*AXOLOTL, *words(job, *more)])
    if trains and code == 0:
        write_state(WORK, job, True)
    for name in job["volumes"].values():  # Modal's own last commit comes after the call's result
        with suppress(RuntimeError, modal.Error):  # a file is open there, for example
            modal.Volume.from_name(name).commit()
    return code


def words(job: Job, *more: str) -> list[str]:
    """Return the words after `axolotl`. more: further options."""
    after = ["--", *job["after"]] if job["after"] else []
    return [*job["command"], job["config"], *job["words"], *more, *after]


def to_the_end(command: list[str]) -> int:
    """Run a command and return its exit code. After an exception it has SAVING seconds to save."""
    adopt_orphans()  # a launcher may end before its ranks
    process = spawn(command, {**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        code = process.wait()
    except BaseException:
        for number in (signal.SIGINT, signal.SIGUSR1):  # ignore further interrupts by Modal
            signal.signal(number, signal.SIG_IGN)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        deadline = time.monotonic() + SAVING
        while children(os.getpid(), recursive=True) and time.monotonic() < deadline:
            time.sleep(0.1)
        raise
    code = 128 - code if code < 0 else code
    if code == 128 + signal.SIGKILL:
        print("axolotl was killed, most often because memory ran out. Raise memory in cloud.yaml.")
    return code


def digest(job: Job) -> str:
    """Return a hash of the command, the config's text and the options."""
    text = json.dumps([job[key] for key in ("command", "text", "words", "after")])
    return hashlib.sha256(text.encode()).hexdigest()


def place_of(output: str, volumes: Mapping[str, str], work: Path = WORK) -> tuple[str, str] | None:
    """Return an output_dir's Volume and its path there (`/`: the root); None if it is on no Volume."""
    folder = posixpath.normpath(f"/{posixpath.join(work.as_posix(), output).lstrip('/')}")
    mounts = [each for each in volumes if f"{folder}/".startswith(f"{each}/")]
    mount = max(mounts, key=len, default="")
    path = posixpath.relpath(folder, mount or "/")
    return (volumes[mount], "/" if path == "." else path) if mount else None


def is_complete(checkpoint: Path) -> bool:
    """Check a checkpoint's trainer_state.json, which transformers writes last."""
    try:
        return isinstance(json.loads((checkpoint / "trainer_state.json").read_bytes()), dict)
    except (OSError, ValueError):
        return False


def write_state(work: Path, job: Job, finished: bool) -> None:
    """Write STATE in one move, because Modal may commit the Volume at any time."""
    folder, call = work / job["output"], modal.current_function_call_id()
    folder.mkdir(parents=True, exist_ok=True)
    state = {"run": digest(job), "config": job["config"], "finished": finished, "call": call}
    (folder / f"{STATE}.new").write_text(json.dumps(state), encoding="utf-8")
    (folder / f"{STATE}.new").replace(folder / STATE)


def decide(
    job: Job, place: tuple[str, str], names: Sequence[str], text: bytes, output: Path | None = None
) -> str | None:
    """Return the checkpoint that a run continues from, if any. text: STATE. Raises ConfigError."""
    try:
        state = json.loads(text)
        known = state.keys() >= {"run", "config", "finished"}
    except (ValueError, AttributeError):
        known = False
    same = known and state["run"] == digest(job)
    if not job["resume"] and not (same and not state["finished"]):
        return None
    steps = [int(name[11:]) for name in names if re.fullmatch("checkpoint-[0-9]+", name)]
    checkpoints = [f"checkpoint-{step}" for step in sorted(steps, reverse=True)]
    last = next((each for each in checkpoints if not output or is_complete(output / each)), None)
    model = any(re.fullmatch(r".*\.safetensors|(pytorch|adapter)_model.*\.bin", n) for n in names)
    there = last or "a model" * model
    resume = f"--resume-from-checkpoint={shlex.quote(posixpath.join(job['output'], str(last)))}"
    delete = f"delete {place[0]}" if place[1] == "/" else f"rm -r {shlex.join(place)}"
    fix = "Use another --output-dir=" + f", continue with {resume}" * bool(last)
    fix += f", or delete it: `modal volume {delete}`"
    run = known and f"run of {state['config']}"
    if known and state["finished"]:
        what = f"a finished {run} is there"
    elif known and not output and _runs(str(state.get("call"))):
        what = f"a {run} is under way there"
        fix = "Wait for its end, or stop it: `modal app list`, then `modal app stop`"
    elif there and not known:
        what = f"{there} is there without {STATE}, so its run is unknown"
    elif there and not same:
        what = f"a {run} with another config or other options wrote {there}"
    else:
        return last
    stop_on([Finding(f"{job['output']} on the Volume {place[0]}", what, fix)])
    return None


def look_here(job: Job, work: Path) -> str | None:
    """Decide in the container, where checkpoints can be read."""
    place, output = place_of(job["output"], job["volumes"], work), work / job["output"]
    if place is None or not output.is_dir():
        return None
    text = (output / STATE).read_bytes() if (output / STATE).exists() else b""
    return decide(job, place, os.listdir(output), text, output)


def look(job: Job) -> str | None:
    """Decide from the user's machine, before anything starts."""
    place = place_of(job["output"], job["volumes"])
    if place is None or not job["resume"]:
        return None
    volume = modal.Volume.from_name(place[0], create_if_missing=True)
    try:
        names = [PurePosixPath(entry.path).name for entry in volume.listdir(place[1])]
    except modal.exception.NotFoundError:
        return None  # a new folder
    file = posixpath.join(place[1], STATE)
    return decide(job, place, names, b"".join(volume.read_file(file)) if STATE in names else b"")


def _runs(call: str) -> bool:
    """Return whether a function call has no result yet. Modal forgets one after some days."""
    try:
        modal.FunctionCall.from_id(call).get(timeout=0)
    except Exception as error:  # get raises the call's own error
        return isinstance(error, TimeoutError)
    return False


def fetch_line(job: Job) -> str:
    """Return the command that copies the output folder to its place on this machine."""
    place, here = place_of(job["output"], job["volumes"]) or (), PurePosixPath(job["output"])
    folder = here if place[1:] == ("/",) else here.parent
    folder = PurePosixPath(".") if here.is_absolute() else folder
    mkdir = "" if str(folder) == "." else f"mkdir -p {shlex.quote(str(folder))} && "
    return mkdir + shlex.join(["modal", "volume", "get", *place, str(folder)])

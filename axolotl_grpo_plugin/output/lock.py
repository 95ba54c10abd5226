"""One run at a time in an output folder: a file with the process and the host of the run.

Two runs in one folder would write checkpoints, rollouts and the model over each other. The first process of a run
holds the lock. Another process of the same run, `eval` and `view` do not look at it.
"""

import atexit
import fcntl
import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from axolotl_grpo_plugin.findings import FindingError, Findings, fault
from axolotl_grpo_plugin.processes import start_of

LOCK = "run.lock"


class Holder(NamedTuple):
    """The process that trains into a folder.

    Attributes:
        host: The name of its machine.
        process: Its number.
        started: When it started, because the system gives a number again later.
        since: When it took the lock, for people.
        job: The Slurm job and step, "" outside of Slurm.
        restarts: How often Slurm has started the job again.
    """

    host: str
    process: int
    started: str
    since: str
    job: str
    restarts: int

    @classmethod
    def here(cls) -> "Holder":
        """Return this process."""
        env = os.environ
        job = ""
        if "SLURM_JOB_ID" in env:
            job = f"{env['SLURM_JOB_ID']}.{env.get('SLURM_STEP_ID', 'batch')}"
        return cls(
            socket.gethostname(),
            os.getpid(),
            start_of(os.getpid()),
            f"{datetime.now():%Y-%m-%d %H:%M}",
            job,
            int(env.get("SLURM_RESTART_COUNT") or 0),
        )

    def is_here(self) -> bool:
        """Return whether its machine is this one, so that its process can be seen."""
        return self.host == socket.gethostname()

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended."""
        if self.is_here():
            return start_of(self.process) != self.started
        # Slurm ends a job before it starts it again, perhaps on other nodes.
        this = Holder.here()
        same_job = bool(self.job) and self.job.partition(".")[0] == this.job.partition(".")[0]
        return same_job and self.restarts < this.restarts

    def is_of_this_run(self) -> bool:
        """Return whether the process is this one, or on another node of the same Slurm job step."""
        this = Holder.here()
        if self.job and not self.is_here():
            return (self.job, self.restarts) == (this.job, this.restarts)
        return (self.host, self.process, self.started) == (this.host, this.process, this.started)


def check_unlocked(folder: Path, key: str, only_here: bool = False) -> Findings:
    """Check that no other run trains into a folder.

    Args:
        folder: The folder. It may be missing.
        key: The key of the config that names the folder.
        only_here: Skip runs on other hosts, because a node of a run may ask before its first process does.
    """
    try:
        holder = _holder((folder / LOCK).read_text())
    except OSError:
        return
    if holder and not (only_here and not holder.is_here()):
        yield from _refusals(folder, key, holder)


def take(folder: Path, key: str) -> None:
    """Take the lock of a folder for this process, until it ends or `release` is called.

    Raises:
        FindingError: Another run has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    is_taken = False
    while not is_taken:
        with file.open("a+") as opened:
            with suppress(OSError):  # some network disks have no locks of the system
                fcntl.flock(
                    opened, fcntl.LOCK_EX
                )  # only for the lines below, so that two do not take it at once
            opened.seek(0)
            if holder := _holder(opened.read()):
                refusals = list(_refusals(folder, key, holder))
                if refusals:
                    raise FindingError(*refusals)
            _write(opened, Holder.here())
            is_taken = _is_same(opened, file)  # else a run has just ended and removed the file
    atexit.register(release, folder)


def release(folder: Path) -> None:
    """Give back the lock of a folder, if this process has it."""
    file = folder / LOCK
    with suppress(OSError):
        holder = _holder(file.read_text())
        if holder and (holder.process, holder.started) == (os.getpid(), start_of(os.getpid())):
            file.unlink()


def _refusals(folder: Path, key: str, holder: Holder) -> Findings:
    if holder.is_of_this_run() or holder.has_ended():
        return
    what = f"in use by process {holder.process} on {holder.host} since {holder.since}"
    fix = "Wait for its end, or set another folder"
    if not holder.is_here():
        what += ", and that host cannot be seen from here"
        fix = f"If that run has ended, delete {folder / LOCK}, else set another folder"
    yield fault("output-in-use", f"{key} ({folder})", what, fix)


def _holder(text: str) -> Holder | None:
    """Return the holder in a lock's text, None if a kill left the text empty or cut."""
    with suppress(ValueError, TypeError):
        return Holder(**json.loads(text))
    return None


def _write(opened: TextIO, holder: Holder) -> None:
    opened.seek(0)
    opened.truncate()
    opened.write(json.dumps(holder._asdict()))
    opened.flush()
    os.fsync(opened.fileno())


def _is_same(opened: TextIO, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened.fileno()), file.stat())
    except FileNotFoundError:
        return False

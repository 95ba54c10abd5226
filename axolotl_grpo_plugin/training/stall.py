"""End a run in which no work ends any more."""

import faulthandler
import fcntl
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from threading import Event, Thread, get_ident
from time import sleep
from typing import NamedTuple
from uuid import uuid4

import psutil
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from axolotl_grpo_plugin.findings import write_end
from axolotl_grpo_plugin.processes import kill
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.serving.output import LOG
from axolotl_grpo_plugin.serving.request import publish

# The default is shorter than the 30 minutes after which NCCL and gloo give up with tracebacks.
LEAST = 1500.0  # seconds
# Completions can grow to several times their length, and then they take several times as long.
SLOWEST = 10  # times the slowest unit so far
# A first step compiles kernels, and a save or an upload is one unit. Their times: not measured.
MOST = 7200.0  # seconds
_POLL = 1.0  # seconds between two signs of life
_DUMP = signal.SIGRTMAX  # lets a rank write its stacks; no library of a training uses this signal
_DUMP_TIME = 0.5  # seconds that a rank gets for it
_SAVES = ("saving", "upload")
# Functions of transformers, TRL, Axolotl and this package in which a training spends its time.
_ACTIVITIES = {
    "get_batch_samples": "data loader",
    "training_step": "training step",
    "answer_rows": "held-out rows",
    "evaluate": "evaluation",
    "_generate_single_turn": "generation",
    "_calculate_rewards": "scoring",
    "_save_checkpoint": "saving",
    "save_trained_model": "saving",
    "push_to_hub": "upload",
}


class _Sign(NamedTuple):
    """A rank's sign of life: its ended units of work, its time limit in seconds, and its work now."""

    ended: int
    rank: int
    pid: int
    limit: float
    place: str

    def state(self) -> str:
        return str(psutil.Process(self.pid).status())

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid}, {self.state()}) in: {self.place}"


class Watchdog(TrainerCallback):
    """Ends the run if no unit of work has ended for a time on this machine.

    A unit is a step, a generation, the scores of a reward function, a save or an evaluation. A thread
    of each rank writes signs of life to a folder, and reads those of the other ranks.

    Args:
        timeout: Seconds. None is LEAST, or SLOWEST times the slowest unit if that is longer. Until the end of
            the first step, and in a save or an upload, it is MOST.
        output_dir: Its debug.log gets the stacks.
    """

    def __init__(self, timeout: float | None, output_dir: str):
        self._timeout = timeout
        self._trainer_thread = get_ident()
        self._ended = 0
        self._stepped = False
        self._block = ""
        (name,) = broadcast_object_list([f"axolotl-grpo-{uuid4()}"])
        self._folder = Path(gettempdir(), name)
        self._folder.mkdir(exist_ok=True)
        log = Path(output_dir, LOG).absolute()
        log.parent.mkdir(parents=True, exist_ok=True)  # Axolotl makes it on the first node only
        self._log = log.open("a", encoding="utf-8")
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, which removes the signs of all ranks."""
        self._stop.set()
        self._thread.join()

    def on_step_end(self, *_: object, **__: object) -> None:
        self._stepped = True
        self._count()

    def _count(self, *_: object, **__: object) -> None:
        self._ended += 1

    on_substep_end = on_save = on_evaluate = on_train_end = _count

    def _begin_block(self, name: str) -> None:
        self._block = name.partition(".")[2]

    def _end_block(self, name: str) -> None:
        self._block = ""
        # Only the first rank calls a vLLM server. Otherwise all ranks end equally many blocks.
        if not name.endswith("vLLM.generate"):
            self._count()

    def _watch(self) -> None:
        """Compare signs of life. It counts polls, because the time of a suspended run does not count."""
        before = -1
        seconds = 0.0
        slowest = 0.0
        faulthandler.register(_DUMP, self._log)
        try:
            blocks = upstream.watching_blocks(self._begin_block, self._end_block)
            # A missing file: another rank has ended.
            with self._log, blocks, suppress(FileNotFoundError):
                while not self._stop.wait(_POLL):
                    signs = self._exchange(self._timeout or max(LEAST, SLOWEST * slowest))
                    ended = sum(sign.ended for sign in signs)
                    if ended > before:
                        before = ended
                        slowest = max(slowest, seconds)
                        seconds = 0.0
                        continue
                    seconds += _POLL
                    if seconds >= max(sign.limit for sign in signs):
                        self._end_run(signs, seconds)
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.unregister(_DUMP)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _exchange(self, limit: float) -> list[_Sign]:
        """Write this rank's sign of life, and return those of all ranks of this machine."""
        place = self._place()
        if not self._stepped or place in _SAVES:
            limit = MOST
        # C code that keeps the GIL stops this thread. Python's own timer needs no GIL. It would also
        # end a run that was suspended for longer.
        faulthandler.dump_traceback_later(2 * limit, file=self._log, exit=True)
        rank = int(os.environ.get("RANK", 0))
        own = _Sign(self._ended, rank, os.getpid(), limit, place)
        publish(self._folder / f"{rank}.json", json.dumps(own))
        return [_Sign(*json.loads(file.read_text())) for file in self._folder.glob("*.json")]

    def _place(self) -> str:
        """Return what the trainer's thread does now, from the outer to the inner work."""
        frame = sys._current_frames().get(self._trainer_thread)
        names = []
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        activities = [_ACTIVITIES[name] for name in reversed(names) if name in _ACTIVITIES]
        if self._block:
            activities.append(self._block)
        return ", ".join(dict.fromkeys(activities)) or "other work"

    def _end_run(self, signs: list[_Sign], seconds: float) -> None:
        """Name the rank that hangs, write all stacks, and kill the ranks with their children."""
        # All ranks see the stall. The first one ends them all, and the kernel then drops its lock.
        fcntl.flock(os.open(self._folder, os.O_RDONLY), fcntl.LOCK_EX)
        try:
            stopped = [sign for sign in signs if sign.state() == psutil.STATUS_STOPPED]
            # A rank that waits for others has ended more than they have.
            hung = min(stopped or signs)
            line = (
                f"axolotl-grpo-plugin: no step, generation or scoring has ended for {seconds:.0f} s. "
                f"No sign came from {hung}. The stacks are in {self._log.name}."
            )
            write_end(line)
            os.write(2, f"\n{line}\n".encode())  # a hanging thread may hold the lock of sys.stderr
            for sign in signs:
                print(f"\n{line}\nStacks of {sign}", file=self._log, flush=True)
                os.kill(sign.pid, _DUMP)
                sleep(_DUMP_TIME)
        finally:  # also if the disk is full
            shutil.rmtree(self._folder, ignore_errors=True)
            for sign in signs:
                kill(sign.pid)
            os._exit(1)  # an exit handler could hang too

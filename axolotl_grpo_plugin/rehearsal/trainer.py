"""Run `axolotl train` in forks of one process that has imported Axolotl, which takes half a minute."""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import NamedTuple

import psutil

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.findings import END
from axolotl_grpo_plugin.serving.processes import die_with

OUTPUTS = (1, 2)  # of a process: stdout and stderr
# The modules that a training imports. None may start a thread, because a fork has only one.
MODULES = (
    "axolotl.cli.main",
    "axolotl.cli.train",
    "axolotl.train",
    "axolotl.core.builders.rl",
    "axolotl.core.trainers.grpo.trainer",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
)


class Ended(NamedTuple):
    """A training that has ended. error: the lines that say why it failed, "" if it did not.

    gib: the most memory of this process and all below it.
    """

    error: str
    seconds: float
    gib: float


class Trainer:
    """Starts to import at once, beside the checks of this process."""

    def __init__(self, log: Path):
        self.log = log
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([*MODULES])
        screen = [os.dup(number) for number in OUTPUTS]
        with log.open("ab") as file:
            for number in OUTPUTS:  # the imports print warnings
                os.dup2(file.fileno(), number)
            try:
                forkserver.ensure_running()
            finally:
                for number, copy in zip(OUTPUTS, screen, strict=True):
                    os.dup2(copy, number)
                    os.close(copy)

    def train(self, words: Sequence[str], offline: bool) -> Ended:
        """Run `axolotl train WORDS` to its end. offline: do not contact the hub."""
        started, gib, here = time.monotonic(), 0.0, psutil.Process()
        end = self.log.with_name("end")
        end.unlink(missing_ok=True)
        process = self._context.Process(
            target=_train, args=([*words], str(self.log), str(end), offline)
        )
        process.start()
        while process.is_alive():
            process.join(2)  # to read the memory takes 0.1 s
            gib = max(gib, sum(map(_memory, [here, *here.children(recursive=True)])) / 2**30)
        error = ""
        if process.exitcode:
            error = end.read_text() if end.exists() else ""
            error = error or "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return Ended(error, time.monotonic() - started, gib)


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):  # it has ended
        return int(process.memory_full_info().pss)  # a page of a fork counts once
    return 0


def _train(words: list[str], log: str, end: str, offline: bool) -> None:
    """Become `axolotl train WORDS` on the CPU, with its output in a file."""
    die_with(os.getppid())
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in OUTPUTS:
        os.dup2(file, number)
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled", END: end}
    sys.path.insert(0, os.getcwd())
    sys.argv = ["axolotl", "train", *words, "--launcher", "python"]
    from axolotl.cli.main import main

    with hub.offline(offline):
        main()

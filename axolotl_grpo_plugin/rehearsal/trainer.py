"""Run `axolotl train` in forks of a process that has imported Axolotl, because the import is slow."""

import gc
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.findings import END
from axolotl_grpo_plugin.serving.processes import die_with

# The modules that a training imports. None may start a thread, because a fork has only one.
MODULES = (
    "axolotl.cli.main",
    "axolotl.cli.preprocess",
    "axolotl.cli.train",
    "axolotl.train",
    "axolotl.core.trainers.grpo.trainer",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
)


class Trainer:
    """Forks the trainings at once, because the checks of this process start threads. They wait for words."""

    def __init__(self, log: Path, trainings: int):
        self.log = log
        preload()
        context = get_context("fork")
        self._waiting = []
        for _ in range(trainings):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_train, args=(receiver, str(log)))
            process.start()
            self._waiting.append((process, sender))

    def train(self, words: Sequence[str], offline: bool) -> str:
        """Run `axolotl train WORDS` to its end. Return the lines that say why it failed, else ""."""
        end = self.log.with_name("end")
        end.unlink(missing_ok=True)
        process, sender = self._waiting.pop()
        sender.send(([*words], str(end), offline))
        process.join()
        if not process.exitcode:
            return ""
        if end.exists():
            return end.read_text()
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def close(self) -> None:
        """End the trainings that nobody asked for."""
        for process, _ in self._waiting:
            process.terminate()


def preload() -> None:
    """Import the modules of a training, for the forks of this process."""
    for name in MODULES:
        import_module(name)
    sys.stdout.flush()  # else each fork would print it again
    gc.freeze()  # a fork collects its own objects only


def _train(receiver: Connection, log: str) -> None:
    """Wait for words, and become `axolotl train WORDS` on the CPU, with its output in a file."""
    die_with(os.getppid())
    with open(log, "ab") as file:
        for number in (1, 2):  # stdout and stderr
            os.dup2(file.fileno(), number)
    words, end, offline = receiver.recv()
    logging.disable(logging.NOTSET)  # the command's own screen is quiet
    warnings.resetwarnings()
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled", END: end}
    sys.path.insert(0, os.getcwd())
    sys.argv = ["axolotl", "train", *words, "--launcher", "python"]
    from axolotl.cli.main import main

    with hub.offline(offline):
        main()

"""Run `axolotl train` in forks of a process that has imported Axolotl, because the import is slow."""

import gc
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from signal import Signals
from socket import create_server
from textwrap import indent

from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.findings import END
from axolotl_grpo_plugin.processes import adopt_orphans, kill, start_fork

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
LOCAL = "127.0.0.1"
_AGAIN = 0.05  # seconds until `train` looks at its ranks again


class Trainings:
    """Forks the trainings at once, because the checks of this process start threads. They wait for words.

    log: of the first rank; the others' are beside it. ranks: the processes of each training.
    """

    def __init__(self, log: Path, trainings: int, ranks: int):
        self.log = log
        self.ranks = ranks
        adopt_orphans()  # so that `close` ends what a killed rank leaves
        preload()
        self._waiting = []
        for _ in range(trainings):
            forks = [start_fork(partial(self._become, rank)) for rank in range(ranks)]
            self._waiting.append(forks)

    def _log_of(self, rank: int) -> Path:
        return self.log.with_name(f"training-{rank}.log") if rank else self.log

    def _become(self, rank: int, pipe: Connection) -> None:
        """Wait for words, and become a rank of `axolotl train WORDS` on the CPU, with its output in its log."""
        log = self._log_of(rank)
        with log.open("ab") as file:
            for number in (1, 2):  # stdout and stderr
                os.dup2(file.fileno(), number)
        words, port, offline = pipe.recv()
        logging.disable(logging.NOTSET)  # the command's own screen is quiet
        warnings.resetwarnings()
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled", END: f"{log}.end"}
        if self.ranks > 1:
            # As torchrun does, which would import Axolotl again in each rank.
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(self.ranks),
                "LOCAL_WORLD_SIZE": str(self.ranks),
                "MASTER_ADDR": LOCAL,
                "MASTER_PORT": port,
            }
        sys.path.insert(0, os.getcwd())
        sys.argv = ["axolotl", "train", *words, "--launcher", "python"]
        from axolotl.cli.main import main

        with hub.offline(offline):
            main()

    def train(self, words: Sequence[str], offline: bool) -> tuple[str, Path]:
        """Run `axolotl train WORDS` to its end. Return why it failed, else "", and the log that says more."""
        with create_server((LOCAL, 0)) as probe:
            port = str(probe.getsockname()[1])
        ranks = []
        for process, pipe in self._waiting.pop():
            pipe.send((words, port, offline))
            ranks.append(process)
        failed = _first_failed(ranks)
        if failed is None:
            return "", self.log
        self.close()  # the other ranks wait for this one, and no training follows
        for process in ranks:
            process.join()
        log = self._log_of(failed)
        return _reason(failed, ranks[failed].exitcode or 0, log), log

    def close(self) -> None:
        """End the trainings that nobody asked for, and all that a failed one left."""
        kill(os.getpid())


def _first_failed(ranks: Sequence[ForkProcess]) -> int | None:
    """Wait for the processes of a training. Return the first that fails, None if all end well."""
    while True:
        codes = [process.exitcode for process in ranks]
        failed = [code for code in codes if code]
        if failed:
            # The other ranks fail because of one that is killed, whose code is negative.
            return codes.index(min(failed))
        if None not in codes:
            return None
        time.sleep(_AGAIN)


def _reason(rank: int, code: int, log: Path) -> str:
    if code < 0:
        return f"rank {rank} was ended by {Signals(-code).name}"
    end = Path(f"{log}.end")
    if end.exists():
        error = end.read_text()
    else:
        error = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    return f"the training failed:\n{indent(error.strip(), '    ')}\n   "


def preload() -> None:
    """Import the modules of a training, for the forks of this process."""
    for name in MODULES:
        import_module(name)
    sys.stdout.flush()  # else each fork would print it again
    gc.freeze()  # a fork collects its own objects only

"""End a run on a signal. Ranks that each hold a part of the model end together, after a step."""

import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.integrations import is_deepspeed_zero3_enabled

from axolotl_grpo_plugin.findings import write_end
from axolotl_grpo_plugin.processes import end_signals, end_with, kill
from axolotl_grpo_plugin.serving.request import SUPERVISOR
from axolotl_grpo_plugin.serving.saver import files_of

if TYPE_CHECKING:
    from trl import GRPOConfig

    from axolotl_grpo_plugin.training.held_out_answers import HeldOutAnswers

_REPEATED = 1.0  # seconds in which a launcher forwards a signal that this rank has got already


class CollectiveEnd(TrainerCallback):
    """Ends a run on a signal after its step, on all ranks, which then save the model together.

    With FSDP and ZeRO-3, a rank has only a part of the weights. Axolotl's own handler lets the first rank save
    alone, and then it writes empty tensors, or waits for the others.

    A second signal ends the run at once. `axolotl-grpo train` counts the signals itself, and signals one rank.

    Args:
        trainer: Of the run.
    """

    def __init__(self, trainer: "HeldOutAnswers"):
        self._trainer = trainer
        self._signal = 0  # the first one, 0 before it
        self._signalled_at = 0.0

    @property
    def has_ended_run(self) -> bool:
        """Whether a signal has ended the run before its last step."""
        state = self._trainer.state
        return self._trainer.ends_on_signal and state.global_step < state.max_steps

    def hear_signals(self) -> None:
        """Replace the signal handlers of this process."""
        # Ray trains in another thread, and ends its workers itself.
        if current_thread() is not main_thread():
            return
        # Python calls handlers in the main thread, which may wait for other ranks. A pipe reaches another thread.
        source, sink = os.pipe()
        os.set_blocking(sink, False)
        signal.set_wakeup_fd(sink)
        Thread(target=self._count_signals, args=(source,), daemon=True).start()
        before = {number: signal.signal(number, lambda *_: None) for number in end_signals()}
        os.register_at_fork(after_in_child=partial(_restore, before))
        # SIGTERM does not end this process any more, so it ends with its supervisor.
        if supervisor := os.environ.get(SUPERVISOR):
            end_with(int(supervisor))

    def _count_signals(self, source: int) -> None:
        while True:
            (number,) = os.read(source, 1)
            if number not in end_signals():
                continue
            now = time.monotonic()
            is_repeated = now - self._signalled_at < _REPEATED
            self._signalled_at = now
            name = signal.Signals(number).name
            if not self._signal:
                self._signal = number
                self._say(
                    f"{name}: the step ends, and all ranks save. Another signal ends it at once."
                )
            elif not is_repeated and SUPERVISOR not in os.environ:
                files = files_of(self._trainer.args.output_dir)
                self._say(f"{name}: the run ends at once. {files}")
                kill(os.getpid())
                os._exit(128 + number)

    def _say(self, line: str) -> None:
        """Print a line on the first rank of a machine, unless `axolotl-grpo train` prints it."""
        if self._trainer.accelerator.is_local_main_process and SUPERVISOR not in os.environ:
            # The main thread may hold the lock of sys.stderr.
            os.write(2, f"\naxolotl-grpo-plugin: {line}\n".encode())

    def on_step_end(
        self, args: "GRPOConfig", state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # A signal may reach one rank only, or the ranks in different steps.
        signals = self._trainer.accelerator.gather(torch.tensor([self._signal], device=args.device))
        if signals.any():
            control.should_training_stop = True
            self._trainer.ends_on_signal = True
            line = f"A signal ends the run after step {state.global_step} of {state.max_steps}."
            if self._trainer.accelerator.is_main_process:
                print(f"\n{line}")
            # The launcher may get the signal, too, and torchrun then prints a traceback.
            write_end(f"axolotl-grpo-plugin: {line}")


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Give a fork of this process its signals back. It would write them to this process's pipe."""
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def is_sharded(trainer: "HeldOutAnswers") -> bool:
    """Return whether no rank of a trainer has the whole model."""
    parallel = trainer.accelerator.parallelism_config
    has_tensor_shards = parallel is not None and parallel.tp_enabled
    return bool(trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled() or has_tensor_shards)


def is_on_several_nodes() -> bool:
    """Return whether torchrun trains on several machines, whose first ranks would each write the same model."""
    return int(os.environ.get("GROUP_WORLD_SIZE", 1)) > 1

"""End a run that is stopped before its first step without a model."""

import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from transformers import TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig

_AXOLOTLS = "axolotl.train"  # the module of the handler that saves the model


class BeforeFirstStep(TrainerCallback):
    """Keeps Axolotl from saving the model on SIGINT before it has been trained: it would be the base model, renamed.

    A run that goes on from a checkpoint has a trained model.
    """

    def __init__(self) -> None:
        self._axolotls: Any = None  # Axolotl's handler while this one stands in for it

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        handler = signal.getsignal(signal.SIGINT)
        # Axolotl sets one on the first rank, but not under Ray.
        if state.global_step == 0 and getattr(handler, "__module__", "") == _AXOLOTLS:
            self._axolotls = handler
            signal.signal(signal.SIGINT, self._stop)

    def on_step_end(self, *_: object, **__: object) -> None:
        if self._axolotls:
            signal.signal(signal.SIGINT, self._axolotls)
            self._axolotls = None

    def _stop(self, number: int, _: FrameType | None) -> NoReturn:
        line = "stopped before step 1: no model and no card are written"
        print(f"\naxolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)
        sys.exit(128 + number)

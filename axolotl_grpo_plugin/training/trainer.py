"""The trainer of a run: Axolotl's GRPO trainer with the methods of this plugin.

The order of the bases is the order of the calls. A method may call `super()`, which is that of the next base.
"""

from typing import Any

import torch
from axolotl.core.trainers.grpo.trainer import AxolotlAsyncGRPOTrainer, AxolotlGRPOTrainer
from axolotl.utils.import_helper import get_cls_from_module_str
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.tool_use import ToolUse
from axolotl_grpo_plugin.findings import first_line, stop
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.repairs.data_producer import DataProducerRepair
from axolotl_grpo_plugin.repairs.end_tokens import EndTokens
from axolotl_grpo_plugin.repairs.lora_sync import KeptBase
from axolotl_grpo_plugin.repairs.resume import ResumedRun
from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores
from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts
from axolotl_grpo_plugin.training.card import write_card
from axolotl_grpo_plugin.training.dynamic_sampling import DynamicSampling
from axolotl_grpo_plugin.training.fewer_tokens import generate_fewer_tokens
from axolotl_grpo_plugin.training.held_out_answers import HeldOutAnswers
from axolotl_grpo_plugin.training.packed_step.settings import why_other_trainer
from axolotl_grpo_plugin.training.packed_step.step import PackedStep
from axolotl_grpo_plugin.training.packed_step.support import REARRANGE
from axolotl_grpo_plugin.training.stop_texts import StopTexts


class RunTrainer(
    LoggedRollouts,  # first: it writes all batches of a generation, also those that sampling discards
    DynamicSampling,  # before DeadGroups: each of its rounds is one whole generation with advantages
    DeadGroups,  # before GuardedScores: it compares the filled scores
    HeldOutAnswers,  # generates by ToolUse and scores by GuardedScores, past the three above
    GuardedScores,  # right around TRL's scoring
    ToolUse,  # right around TRL's generation
    DataProducerRepair,  # the order of the repairs does not count, except that of EndTokens
    ResumedRun,
    KeptBase,
    StopTexts,  # right around TRL's generation of a turn
    EndTokens,  # last: its `__init__` ends before those above, so they find its end tokens
):
    """The methods of this plugin over any trainer that is TRL's or a subclass of it.

    Attributes:
        given: The config before Axolotl's defaults, which the model card shows.
    """

    given: Config

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        upstream.decode_with(self.model, generate_fewer_tokens, self.stopping)

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write the card of a run. TRL's has neither rewards nor results, and every save writes it."""
        write_card(self, self.given)


class SynchronousTrainer(RunTrainer, PackedStep, AxolotlGRPOTrainer):
    """Axolotl's trainer that generates before each step."""


class DataProducerTrainer(RunTrainer, PackedStep, AxolotlAsyncGRPOTrainer):
    """Axolotl's trainer for `trl.use_data_producer` and `trl.async_prefetch`."""

    pops_buffer = True
    averages_ranks = True
    autocast_dtype = torch.bfloat16  # of Axolotl's log-probabilities

    def __init__(self, *arguments: Any, **options: Any):
        """Make Axolotl's trainer. It takes Axolotl's arguments."""
        super().__init__(*arguments, **options)
        if REARRANGE not in self._off:
            # With it, Axolotl returns early from a pass whose advantages are all 0. Here that can be so on one rank
            # only, and the others would wait for it in their gathers.
            self.args.skip_zero_advantage_batches = False


# Axolotl finds the trainer of a run by a path of a module and a name.
chosen: type[RunTrainer] = SynchronousTrainer


def choose_trainer(cfg: Config, **of_run: Any) -> str:
    """Let Axolotl make a trainer with the methods of this module.

    Args:
        cfg: Becomes a class attribute. Its `trainer_cls` becomes the path of `chosen`. A class that it names
            already becomes a base.
        of_run: More class attributes. The bases declare which ones they need.

    Returns:
        Why the trainer has no packed step, or "".
    """
    global chosen
    has_producer = cfg.trl.use_data_producer or cfg.trl.async_prefetch
    reason = why_other_trainer(cfg)
    bases: tuple[type, ...] = (DataProducerTrainer if has_producer else SynchronousTrainer,)
    if reason:
        theirs: type = AxolotlAsyncGRPOTrainer if has_producer else AxolotlGRPOTrainer
        if path := cfg.trainer_cls:
            theirs = _trainer_at(path)
        bases = (theirs,) if issubclass(theirs, RunTrainer) else (RunTrainer, theirs)
    chosen = type(bases[-1].__name__, bases, {"cfg": cfg, **of_run})
    cfg.raw["trainer_cls"] = f"{__name__}.chosen"
    return reason


def _trainer_at(path: str) -> type:
    """Return the trainer class of a path.

    Raises:
        FindingError: There is none.
    """
    where = f"trainer_cls: {path}"
    try:
        trainer = get_cls_from_module_str(path)
    except (ImportError, AttributeError, ValueError) as error:
        stop("no-grpo-trainer", where, first_line(error), "Correct the path, or remove the key")
    if not (isinstance(trainer, type) and issubclass(trainer, GRPOTrainer)):
        fix = "Derive it from axolotl.core.trainers.grpo.trainer.AxolotlGRPOTrainer"
        stop("no-grpo-trainer", where, "it is no subclass of trl.GRPOTrainer", fix)
    return trainer

"""The callbacks of a training, in their order."""

from transformers import ProgressCallback, TrainerCallback

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.best import BestModel
from axolotl_grpo_plugin.training.first_step import BeforeFirstStep
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out_answers import HeldOut
from axolotl_grpo_plugin.training.progress import Report, RewardProgress
from axolotl_grpo_plugin.training.samples import EVERY, Samples
from axolotl_grpo_plugin.training.trainer import RunTrainer


def callbacks(cfg: Config, trainer: RunTrainer, runner: RewardRunner) -> list[TrainerCallback]:
    """Return the callbacks of a run, and remove transformers' progress bar, which prints every metric."""
    names = trainer.reward_func_names
    first = names[0]
    # Held-out rows are answered before the first step.
    added: list[TrainerCallback] = [BeforeFirstStep()]
    if trainer.pop_callback(ProgressCallback):
        added.append(RewardProgress(first))
    every = cfg.grpo_show_steps
    if every is None:
        every = EVERY
    if every:
        added.append(Samples(trainer, first, every))
    answers = None
    if rows := cfg.grpo_held_out_rows:
        best = BestModel(trainer) if cfg.grpo_keep_best else None
        rewards = runner.rewards(names)
        held_out = HeldOut(trainer, rows, cfg.grpo_eval_steps, rewards, best, cfg.grpo_stop_at)
        added.append(held_out)
        answers = held_out.file
    health = Health(first, runner.highest(), trainer.rollout_log, cfg.grpo_max_logprob_difference)
    return [*added, health, Report(first, answers)]

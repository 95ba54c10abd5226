"""Check the batch of a step, in completions and prompts, against the rules of TRL and Axolotl."""

import os
from math import ceil, gcd, lcm
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.config import GENERATIONS, Config, whole_of
from axolotl_grpo_plugin.findings import Findings, fault
from axolotl_grpo_plugin.reward import GroupReward
from axolotl_grpo_plugin.training.packed_step.settings import why_no_budget

STEPS = "gradient_accumulation_steps"
TOTAL = "trl.generation_batch_size"
GROUP_IN_EVALUATION = "grpo_trl_args.num_generations_eval"


class Batch(NamedTuple):
    """The shape of a step, in completions.

    micro_batch_size: per rank and forward pass. num_generations: per prompt. generation_batch_size:
    generated at a time on all ranks, None for as many as a step trains on. evaluated: per rank at a time,
    0 if the run does not evaluate. group_in_evaluation: per prompt then. strict: Axolotl's own rule applies too.
    """

    micro_batch_size: int
    gradient_accumulation_steps: int
    num_generations: int
    ranks: int
    generation_batch_size: int | None = None
    evaluated: int = 0
    group_in_evaluation: int = 0
    strict: bool = True

    @property
    def completions(self) -> int:
        """Completions per optimizer step."""
        return self.micro_batch_size * self.gradient_accumulation_steps * self.ranks

    @property
    def generated(self) -> int:
        """Completions that are generated at a time."""
        return self.generation_batch_size or self.completions

    def __str__(self) -> str:
        prompts, rest = divmod(self.completions, self.num_generations)
        groups = f"{prompts} {'prompt' if prompts == 1 else 'prompts'} x {self.num_generations}"
        if rest:
            groups = f"not a multiple of {self.num_generations}"
        processes = f"{self.ranks} processes" if self.ranks > 1 else "1 process"
        line = (
            f"{self.completions} completions per step: {groups} (micro_batch_size {self.micro_batch_size} x "
            f"{STEPS} {self.gradient_accumulation_steps} x {processes})"
        )
        if self.generated != self.completions:
            line += f", {self.generated} generated at a time"
        return line


def batch_of(cfg: Config, ranks: int) -> Batch | None:
    """Return the batch of a raw config on that many ranks, None if a size is no count.

    `check_ranges` reports such a size. `batch_size` is not used: Axolotl 0.21 reads it only if
    gradient_accumulation_steps is unset, which its own default of 1 prevents.
    """
    micro = _size(cfg, "micro_batch_size", 1)
    steps = _size(cfg, STEPS, 1)
    generations = _size(cfg, "trl.num_generations", GENERATIONS)
    if micro is None or steps is None or generations is None:
        return None
    evaluated = cfg.eval_batch_size or micro
    return Batch(
        micro,
        steps,
        generations,
        ranks,
        cfg.trl.generation_batch_size,
        evaluated if _evaluates(cfg) else 0,
        cfg.grpo_trl_args.num_generations_eval or generations,
        cfg.rl == "grpo" and cfg.trl.num_generations is not None,
    )


def name_run(cfg: Config, ranks: int) -> None:
    """Name the run on wandb after its main settings, if the config and WANDB_NAME do not.

    The rule is xLR's: Qwen2.5-7B-Instruct_lr_3e-6_bs_240_n_15, with the completions per step as "bs".
    """
    batch = batch_of(cfg, ranks)
    named = cfg.wandb_name or os.environ.get("WANDB_NAME")
    if cfg.wandb_project and not named and batch:
        model = Path(str(cfg.base_model)).name
        rate = cfg.value_at("learning_rate")  # as it is written: 1e-6, not 1e-06
        cfg.raw["wandb_name"] = (
            f"{model}_lr_{rate}_bs_{batch.completions}_n_{batch.num_generations}"
        )


def _size(cfg: Config, key: str, default: int) -> int | None:
    """Return a size of at least 1, or the default of a key that is not set. None for any other value."""
    value = cfg.value_at(key)  # as it is written, because a wrong value is not the default
    size = default if value is None else whole_of(value)
    return size if size and size > 0 else None


def _evaluates(cfg: Config) -> bool:
    """Return whether Axolotl turns evaluation on."""
    strategy = cfg.eval_strategy
    if strategy == "no" or not (cfg.test_datasets or cfg.val_set_size):
        return False
    evaluations = (cfg.evals_per_epoch or 0) * (whole_of(cfg.num_epochs) or 1)
    return bool(strategy or cfg.eval_steps or evaluations > 1)


def check_batch(cfg: Config, ranks: int) -> Findings:
    """Check TRL's and Axolotl's rules for the batch. Each error names a size that keeps them."""
    if cfg.batch_size and not cfg.value_at(STEPS):
        yield fault(
            "unread-batch-size",
            "batch_size",
            f"Axolotl 0.21 never reads it, because {STEPS} is 1 by default",
            f"Set {STEPS} instead",
        )
    batch = batch_of(cfg, ranks)
    if batch is None:
        return
    if batch.num_generations < 2:
        yield fault(
            "few-generations",
            "trl.num_generations",
            f"{batch.num_generations} is too few, because advantages compare the completions of a prompt",
            "Set it to 8, at least to 2",
        )
        return
    yield from _check_training(batch)
    yield from _check_evaluation(batch)


def check_token_budget(cfg: Config) -> Findings:
    """Check that `grpo_tokens_per_pass` has an effect."""
    if cfg.grpo_tokens_per_pass and (reason := why_no_budget(cfg)):
        yield fault(
            "no-token-budget",
            "grpo_tokens_per_pass",
            f"no effect: {reason}",
            "Remove the key, and limit the memory by micro_batch_size",
        )


def _check_training(batch: Batch) -> Findings:
    group, total = batch.num_generations, batch.generated
    forward = batch.micro_batch_size * batch.ranks  # completions per forward pass on all ranks
    least = group * batch.ranks if batch.strict else group
    if total % forward:
        rule = f"which is not a multiple of micro_batch_size x processes ({batch.micro_batch_size} x {batch.ranks})"
    elif total % group:
        rule = f"which is not a multiple of num_generations ({group})"
    elif total < least:
        rule = f"but Axolotl 0.21 requires num_generations x processes ({group} x {batch.ranks} = {least}) or more"
    else:
        return
    size = _next(max(total, least), lcm(forward, group))
    where = "trl.num_generations"
    fix = f"Set {STEPS}: {size // forward}, or lower trl.num_generations"
    if batch.generation_batch_size is not None:
        where = TOTAL
        fix = f"Set {TOTAL}: {size}"
    yield fault("wrong-batch", where, f"{total} completions are generated at a time, {rule}", fix)


def _check_evaluation(batch: Batch) -> Findings:
    total, group = batch.evaluated * batch.ranks, batch.group_in_evaluation
    if total % group == 0:
        return
    yield fault(
        "wrong-batch",
        "eval_batch_size",
        f"{batch.evaluated} x {batch.ranks} processes = {total} completions are evaluated at a time, "
        f"which is not a multiple of {group}, the completions per prompt",
        f"Set eval_batch_size: {_next(batch.evaluated, group // gcd(group, batch.ranks))}",
    )


def _next(size: int, unit: int) -> int:
    """Return the first multiple of `unit` that is at least `size`."""
    return ceil(size / unit) * unit


def check_rows(cfg: Config, ranks: int, rows: int) -> Findings:
    """Check that the dataset fills a batch. TRL drops an incomplete one, and would train on nothing.

    rows: the prompts to train on, 0 if they were not counted.
    """
    batch = batch_of(cfg, ranks)
    if not batch or not rows:
        return
    prompts = batch.generated // max(batch.num_generations, 1)
    if rows < prompts:
        yield fault(
            "too-few-rows",
            "datasets",
            f"{rows} prompts do not fill a batch of {prompts}, so no step would train",
            f"Add rows, or lower {STEPS}",
        )


def check_groups(cfg: Config, ranks: int) -> Findings:
    """Check that a reward that compares a prompt's completions gets them all on one rank."""
    batch = batch_of(cfg, ranks)
    if batch is None or ranks < 2 or batch.num_generations < 2:
        return
    rewards = [key for _, key, function in functions_in(cfg) if isinstance(function, GroupReward)]
    if not rewards:
        return
    # TRL splits a batch over the ranks without regard to its prompt groups.
    group = batch.num_generations
    needs = f"but {rewards[0]} needs all {group} completions of a prompt in one process"
    scored = batch.generated // ranks
    if scored % group:
        key = STEPS
        unit = group // gcd(group, batch.micro_batch_size)
        if batch.generation_batch_size is not None:
            key = TOTAL
            unit = lcm(group, batch.micro_batch_size) * ranks
        yield fault(
            "split-groups",
            "trl.num_generations",
            f"each of the {ranks} processes scores {scored} completions, {needs}",
            f"Set {key} to a multiple of {unit}",
        )
    if batch.evaluated % batch.group_in_evaluation:
        yield fault(
            "split-groups",
            "eval_batch_size",
            f"each process scores {batch.evaluated} completions, {needs}",
            f"Set it to a multiple of {batch.group_in_evaluation}",
        )

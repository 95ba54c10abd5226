"""Check the batch of a step, in completions and prompts, against the rules of TRL and Axolotl."""

import os
from collections.abc import Callable, Iterator
from math import gcd, lcm
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.reward import GroupReward

GENERATIONS = 8  # TRL's default
MAX_DISTANCE = 10_000  # the search for a valid size ends this far from the present one
KEYS = {
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "micro_batch_size": "micro_batch_size",
    "num_generations": "trl.num_generations",
    "generation_batch_size": "trl.generation_batch_size",
    "eval_batch_size": "eval_batch_size",
}


class Batch(NamedTuple):
    """The shape of a step, in completions.

    micro_batch_size: per rank and forward pass. num_generations: per prompt. generation_batch_size:
    generated at a time on all ranks, None for as many as a step trains on. eval_batch_size: per rank,
    None for micro_batch_size. evaluates: the run evaluates. strict: Axolotl's own rule applies too.
    num_generations_eval: per prompt in an evaluation, None for num_generations.
    """

    micro_batch_size: int
    gradient_accumulation_steps: int
    num_generations: int
    ranks: int
    generation_batch_size: int | None = None
    eval_batch_size: int | None = None
    evaluates: bool = False
    strict: bool = True
    num_generations_eval: int | None = None

    @property
    def completions(self) -> int:
        """Completions per optimizer step."""
        return self.micro_batch_size * self.gradient_accumulation_steps * self.ranks

    @property
    def generated(self) -> int:
        """Completions that are generated at a time."""
        return self.generation_batch_size or self.completions

    @property
    def evaluated(self) -> int:
        """Completions that each rank evaluates at a time."""
        return self.eval_batch_size or self.micro_batch_size

    @property
    def group_in_evaluation(self) -> int:
        """Completions of a prompt in an evaluation."""
        return self.num_generations_eval or self.num_generations

    def __str__(self) -> str:
        prompts, rest = divmod(self.completions, self.num_generations)
        groups = f"{prompts} prompt{'s' * (prompts != 1)} x {self.num_generations}"
        if rest:
            groups = f"not a multiple of {self.num_generations}"
        line = (
            f"{self.completions} completions per step: {groups} (micro_batch_size {self.micro_batch_size} x "
            f"gradient_accumulation_steps {self.gradient_accumulation_steps} x "
            f"{self.ranks} process{'es' * (self.ranks != 1)})"
        )
        same = self.generated == self.completions
        return line if same else f"{line}, {self.generated} generated at a time"


def batch_of(cfg: Any, ranks: int) -> Batch | None:
    """Return the batch of a raw config on that many ranks, None if a size is no number.

    Axolotl reports such a size. `batch_size` is not used: Axolotl 0.21 reads it only if
    gradient_accumulation_steps is unset, which its own default of 1 prevents.
    """
    trl = block(cfg, "trl")
    micro = _size(cfg.get("micro_batch_size"), 1)
    steps = _size(cfg.get("gradient_accumulation_steps"), 1)
    generations = _size(trl.get("num_generations"), GENERATIONS)
    if micro is None or steps is None or generations is None:
        return None
    return Batch(
        micro,
        steps,
        generations,
        ranks,
        tokens_of(trl.get("generation_batch_size")),
        tokens_of(cfg.get("eval_batch_size")),
        _evaluates(cfg),
        cfg.get("rl") == "grpo" and trl.get("num_generations") is not None,
        tokens_of(block(cfg, "grpo_trl_args").get("num_generations_eval")),
    )


def name_run(cfg: Any, ranks: int) -> None:
    """Name the run on wandb after its main settings, if the config and WANDB_NAME do not.

    The rule is xLR's: Qwen2.5-7B-Instruct_lr_3e-6_bs_240_n_15, with the completions per step as "bs".
    """
    batch = batch_of(cfg, ranks)
    named = cfg.get("wandb_name") or os.environ.get("WANDB_NAME")
    if cfg.get("wandb_project") and not named and batch:
        model, rate = Path(str(cfg.get("base_model"))).name, cfg.get("learning_rate")
        cfg["wandb_name"] = f"{model}_lr_{rate}_bs_{batch.completions}_n_{batch.num_generations}"


def _size(value: Any, default: int) -> int | None:
    return default if value is None else tokens_of(value)


def _evaluates(cfg: Any) -> bool:
    """Return whether Axolotl turns evaluation on."""
    has_rows = cfg.get("test_datasets") or cfg.get("val_set_size")
    if not has_rows or cfg.get("eval_strategy") == "no":
        return False
    per_epoch = tokens_of(cfg.get("evals_per_epoch")) or 0
    epochs = tokens_of(cfg.get("num_epochs")) or 1
    return bool(cfg.get("eval_strategy") or cfg.get("eval_steps") or per_epoch * epochs > 1)


def check_batch(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Check TRL's and Axolotl's rules for the batch. Each error names the nearest valid sizes."""
    if cfg.get("batch_size") and not cfg.get("gradient_accumulation_steps"):
        what = "Axolotl 0.21 never reads it, because gradient_accumulation_steps is 1 by default"
        yield Finding(at(cfg, "batch_size"), what, "Set gradient_accumulation_steps instead")
    batch = batch_of(cfg, ranks)
    if batch is None:
        return
    if batch.num_generations < 2:
        what = f"{batch.num_generations} is too few, because advantages compare the completions of a prompt"
        yield Finding(at(cfg, "trl.num_generations"), what, "Set it to 8, at least to 2")
        return
    for key, name in KEYS.items():
        size = getattr(batch, key)
        if size is not None and size < 1:
            yield Finding(at(cfg, name), f"{size} is less than 1", "Set it to 1 or more")
            return
    total = place = "generation_batch_size"
    if batch.generation_batch_size is None:
        total, place = "gradient_accumulation_steps", "num_generations"
    if what := _fault_in_training(batch):
        fix = _fix(batch, (total, "micro_batch_size", "num_generations"), _fault_in_training)
        yield Finding(at(cfg, KEYS[place]), what, fix)
    if what := _fault_in_evaluation(batch):
        fix = _fix(batch, ("eval_batch_size",), _fault_in_evaluation)
        yield Finding(at(cfg, "eval_batch_size"), what, fix)


def _fault_in_training(batch: Batch) -> str:
    """Return the rule that the training batch breaks, or ""."""
    group, ranks, total = batch.num_generations, batch.ranks, batch.generated
    if total % (batch.micro_batch_size * ranks):
        return f"{total} is not a multiple of micro_batch_size x processes ({batch.micro_batch_size} x {ranks})"
    at_a_time = f"{total} completions are generated at a time"
    if total % group:
        return f"{at_a_time}, which is not a multiple of num_generations ({group})"
    if batch.strict and total < group * ranks:
        return (
            f"{at_a_time}, but Axolotl 0.21 requires num_generations x processes "
            f"({group} x {ranks} = {group * ranks}) or more"
        )
    return ""


def _fault_in_evaluation(batch: Batch) -> str:
    """Return the rule that the evaluation batch breaks, or ""."""
    total, group = batch.evaluated * batch.ranks, batch.group_in_evaluation
    if not batch.evaluates or not total % group:
        return ""
    name = "num_generations_eval" if batch.num_generations_eval else "num_generations"
    return (
        f"{batch.evaluated} x {batch.ranks} processes = {total} completions are evaluated at a time, "
        f"which is not a multiple of {name} ({group})"
    )


def _fix(batch: Batch, keys: tuple[str, ...], rule: Callable[[Batch], str]) -> str:
    """Return, for each key alone, the nearest value that satisfies the rule and breaks no other."""
    rules = [
        rule,
        *(each for each in (_fault_in_training, _fault_in_evaluation) if not each(batch)),
    ]

    settings = []
    for key in keys:
        present = getattr(batch, key) or batch.micro_batch_size  # the default of eval_batch_size
        least = 2 if key == "num_generations" else 1
        # All divisibilities repeat after this distance.
        period = max(present, batch.num_generations * batch.micro_batch_size * batch.ranks)
        distances = range(min(MAX_DISTANCE, period) + 1)
        near = (max(least, present + sign * each) for each in distances for sign in (1, -1))
        for value in near:
            if not any(each(Batch(**{**batch._asdict(), key: value})) for each in rules):
                settings.append(f"{KEYS[key]}: {value}")
                break
    return f"Set {', or '.join(settings)}" if settings else f"Lower {KEYS['num_generations']}"


def check_rows(cfg: Any, ranks: int, rows: int) -> Iterator[Finding]:
    """Check that the dataset fills a batch. TRL drops an incomplete one, and would train on nothing.

    rows: the prompts to train on.
    """
    batch = batch_of(cfg, ranks)
    if batch and 0 < rows < (prompts := batch.generated // max(batch.num_generations, 1)):
        what = f"{rows} prompts do not fill a batch of {prompts}, so no step would train"
        fix = "Add rows, or lower gradient_accumulation_steps"
        yield Finding(at(cfg, "datasets"), what, fix)


def check_groups(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Check that a reward that compares a prompt's completions gets them all on one rank."""
    batch = batch_of(cfg, ranks)
    if batch is None or ranks < 2 or batch.num_generations < 2:
        return
    rewards = [key for _, key, function in functions_in(cfg) if isinstance(function, GroupReward)]
    if not rewards:
        return
    group = batch.num_generations
    needs = f"but {rewards[0]} needs all {group} completions of a prompt in one process"
    scored = batch.generated // ranks
    if scored % group:
        key, unit = "gradient_accumulation_steps", group // gcd(group, batch.micro_batch_size)
        if batch.generation_batch_size is not None:
            key = KEYS["generation_batch_size"]
            unit = lcm(group, batch.micro_batch_size) * ranks
        what = f"each of the {ranks} processes scores {scored} completions, {needs}"
        yield Finding(at(cfg, "trl.num_generations"), what, f"Set {key} to a multiple of {unit}")
    if batch.evaluates and batch.evaluated % batch.group_in_evaluation:
        what = f"each process scores {batch.evaluated} completions, {needs}"
        fix = f"Set it to a multiple of {batch.group_in_evaluation}"
        yield Finding(at(cfg, "eval_batch_size"), what, fix)

"""The completions and prompts of a step, and the rules of TRL and Axolotl for them."""

from collections.abc import Callable, Iterator
from math import gcd, lcm
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, reward_refs
from axolotl_grpo_plugin.reward import GroupReward

GENERATIONS = 8  # TRL's default
FAR = 10_000  # the search for a better value ends this far from the present one
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
    """

    micro_batch_size: int
    gradient_accumulation_steps: int
    num_generations: int
    ranks: int
    generation_batch_size: int | None = None
    eval_batch_size: int | None = None
    evaluates: bool = False
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
        prompts = self.completions / self.num_generations
        ranks = "1 process" if self.ranks == 1 else f"{self.ranks} processes"
        made_of = (
            f"micro_batch_size {self.micro_batch_size} x gradient_accumulation_steps "
            f"{self.gradient_accumulation_steps} x {ranks}"
        )
        line = f"{self.completions} completions per step: {prompts:g} {'prompt' if prompts == 1 else 'prompts'}"
        line += f" x {self.num_generations} ({made_of})"
        return (
            line
            if self.generated == self.completions
            else f"{line}, {self.generated} generated at a time"
        )


def batch_of(cfg: Any, ranks: int) -> Batch | None:
    """Return the batch of a raw config on that many ranks, None if a size is no number.

    Axolotl reports such a size. `batch_size` is not used: Axolotl 0.21 reads it only if
    gradient_accumulation_steps is unset, which its own default of 1 prevents.
    """
    trl = block(cfg, "trl")
    named = trl.get("num_generations") is not None
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
        _size(trl.get("generation_batch_size"), None),
        _size(cfg.get("eval_batch_size"), None),
        _evaluates(cfg),
        cfg.get("rl") == "grpo" and named,
    )


def check_batch(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Check TRL's and Axolotl's rules for the batch. Each error names the nearest valid sizes."""
    if cfg.get("batch_size") and not cfg.get("gradient_accumulation_steps"):
        what = "Axolotl 0.21 never reads it: gradient_accumulation_steps is 1 by default"
        yield Finding(at(cfg, "batch_size"), what, "Set gradient_accumulation_steps in its place")
    batch = batch_of(cfg, ranks)
    if batch is None:
        return
    low = [KEYS[key] for key in KEYS if _is_low(batch, key)]
    if low:
        yield Finding(at(cfg, low[0]), "less than 1", "Set it to 1 or more")
    elif batch.num_generations < 2:
        what = f"{batch.num_generations}, but without a second completion a prompt has no advantage"
        yield Finding(at(cfg, KEYS["num_generations"]), what, "Set it to 8, at least to 2")
    else:
        total = "gradient_accumulation_steps"
        place = "num_generations"
        if batch.generation_batch_size is not None:
            total = place = "generation_batch_size"
        if what := _train(batch):
            keys = (total, "micro_batch_size", "num_generations")
            yield Finding(at(cfg, KEYS[place]), what, _fix(batch, keys, _train))
        if what := _eval(batch):
            fix = _fix(batch, ("eval_batch_size",), _eval)
            yield Finding(at(cfg, "eval_batch_size"), what, fix)


def check_groups(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Check that a reward that compares a prompt's completions gets them all on one rank."""
    batch, keys = (
        batch_of(cfg, ranks),
        [each.key for each in reward_refs(cfg) if _is_of_groups(each)],
    )
    if not batch or not keys or ranks < 2 or batch.num_generations < 2:
        return
    group, own = batch.num_generations, batch.generated // ranks
    if own % group:
        steps = group // gcd(group, batch.micro_batch_size)
        key, unit = ("gradient_accumulation_steps", steps)
        if batch.generation_batch_size is not None:
            key, unit = (KEYS["generation_batch_size"], lcm(group, batch.micro_batch_size) * ranks)
        what = f"each of the {ranks} processes scores {own} completions, and {keys[0]} needs whole groups of {group}"
        fix = f"Set {key} to a multiple of {unit}"
        yield Finding(at(cfg, KEYS["num_generations"]), what, fix)
    evaluated = batch.eval_batch_size or batch.micro_batch_size
    if batch.evaluates and evaluated % group:
        what = f"{evaluated} per process, and {keys[0]} needs whole groups of {group}"
        yield Finding(at(cfg, KEYS["eval_batch_size"]), what, f"Set a multiple of {group}")


def _is_of_groups(reward: RewardRef) -> bool:
    return not is_model(reward.key) and isinstance(load_reward(reward), GroupReward)


def _train(batch: Batch) -> str:
    """Return the rule that the training batch breaks, or ""."""
    group, ranks, total = batch.num_generations, batch.ranks, batch.generated
    step = batch.micro_batch_size * ranks
    if total % step:
        return f"{total} is not a multiple of micro_batch_size x processes ({batch.micro_batch_size} x {ranks})"
    if total % group:
        return f"{total} completions are generated at a time, which are not whole groups of {group}"
    if batch.strict and ranks > 1 and total < group * ranks:
        return (
            f"{total} completions are generated at a time, and Axolotl 0.21 wants a group of {group} "
            f"for each of the {ranks} processes: {group * ranks}"
        )
    return ""


def _eval(batch: Batch) -> str:
    """Return the rule that the evaluation batch breaks, or ""."""
    size = batch.eval_batch_size or batch.micro_batch_size
    if not batch.evaluates or not size * batch.ranks % batch.num_generations:
        return ""
    processes = f"{size} x {batch.ranks} processes = {size * batch.ranks}"
    return f"{processes} completions are evaluated at a time, which are not whole groups of {batch.num_generations}"


def _fix(batch: Batch, keys: tuple[str, ...], rule: Callable[[Batch], str]) -> str:
    """Return, for each key alone, the nearest value that satisfies the rule and breaks no other."""
    others = [other for other in (_train, _eval) if other is not rule and not other(batch)]
    found = []
    for key in keys:
        now = getattr(batch, key) or batch.micro_batch_size  # the default of eval_batch_size
        first = 2 if key == "num_generations" else 1
        # Beyond this, all divisibilities repeat.
        most = min(FAR, max(now, batch.num_generations * batch.micro_batch_size * batch.ranks))
        near = (value for away in range(most + 1) for value in (now + away, now - away))
        for value in near:
            candidate = Batch(**{**batch._asdict(), key: max(first, value)})
            if not any(each(candidate) for each in (rule, *others)):
                found.append(f"{KEYS[key]}: {getattr(candidate, key)}")
                break
    return f"Set {', or '.join(found)}" if found else f"Lower {KEYS['num_generations']}"


def _is_low(batch: Batch, key: str) -> bool:
    value = getattr(batch, key)
    return key != "num_generations" and value is not None and value < 1


def _size(value: Any, default: int | None) -> int | None:
    return default if value is None else tokens_of(value)


def number_of(value: Any) -> float | None:
    """Return a number as Axolotl's validation reads it (YAML reads 1e-6 as text), else None."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _evaluates(cfg: Any) -> bool:
    """Return whether Axolotl turns evaluation on."""
    if (
        not (cfg.get("test_datasets") or cfg.get("val_set_size"))
        or cfg.get("eval_strategy") == "no"
    ):
        return False
    an_epoch = tokens_of(cfg.get("evals_per_epoch")) or 0
    epochs = tokens_of(cfg.get("num_epochs")) or 1
    return bool(cfg.get("eval_strategy") or cfg.get("eval_steps") or an_epoch * epochs > 1)

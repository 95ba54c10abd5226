"""What to set for the lengths that were counted, and whether a YAML's present numbers will do."""

from math import ceil
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.lengths import context_of, tokens_of
from axolotl_grpo_plugin.paths import block
from axolotl_grpo_plugin.stats.counts import Lengths

STEP = 32  # proposals are multiples of it: vLLM's blocks of 16, and a round number to read
COMPLETION = 512  # where nothing says how long completions are
KEPT = (1.0, 0.999, 0.99, 0.95, 0.9)


class Budget(NamedTuple):
    """prompt + completion <= context, all in tokens. dropped: how many rows have a longer prompt."""

    kept: float
    prompt: int
    dropped: int
    completion: int
    context: int


class Verdict(NamedTuple):
    """One thing that was checked."""

    ok: bool
    line: str


def budgets(prompts: Lengths, completion: int) -> list[Budget]:
    """What keeping each share of the rows costs, from all of them down."""
    return [budget(prompts, completion, 1 - kept) for kept in KEPT]


def budget(prompts: Lengths, completion: int, drop: float = 0.0) -> Budget:
    """The smallest budget that drops no more than this share (0 to 1) of the rows."""
    prompt = prompts.at(1 - drop)
    context = STEP * ceil((prompt + completion) / STEP)
    # Rounded up, the context has room for a few prompts more.
    return Budget(1 - drop, prompt, prompts.over(context - completion), completion, context)


def completion_of(cfg: Any) -> int | None:
    """A raw config's trl.max_completion_length."""
    return tokens_of(block(cfg, "trl").get("max_completion_length"))


def settings(cfg: Any, chosen: Budget) -> dict[str, int]:
    """The YAML keys that a budget sets; vLLM's where the config uses it, or where there is none."""
    made = {"trl.max_completion_length": chosen.completion, "sequence_len": chosen.context}
    if "trl" not in cfg or block(cfg, "trl").get("use_vllm"):
        made["vllm.max_model_len"] = chosen.context
    if cfg.get("grpo_max_prompt_length"):
        made["grpo_max_prompt_length"] = chosen.context - chosen.completion
    return made


def as_yaml(values: dict[str, int]) -> str:
    """Dotted keys as a block to paste.

    >>> print(as_yaml({"trl.max_completion_length": 512, "sequence_len": 800}))
    trl:
      max_completion_length: 512
    sequence_len: 800
    """
    lines, last = [], ""
    for key, value in values.items():
        parent, _, name = key.rpartition(".")
        if parent and parent != last:
            lines.append(f"{parent}:")
        lines.append(f"{'  ' if parent else ''}{name}: {value}")
        last = parent
    return "\n".join(lines)


def check(cfg: Any, prompts: Lengths, drop: float, limit: int | None) -> list[Verdict]:
    """Whether a raw config's present numbers hold these prompts.

    drop: the share of rows that may be lost. limit: the most tokens that the model can hold, if known.
    """
    completion = completion_of(cfg)
    if not completion:
        what = "trl.max_completion_length is not set, and Axolotl then gives TRL no limit at all"
        return [Verdict(False, what)]
    made = []
    context, own = context_of(cfg), tokens_of(cfg.get("grpo_max_prompt_length"))
    needed = budget(prompts, completion, drop)
    if context:
        key, length = context
        made.append(_fits(key, length, needed, prompts, drop))
        if own and own + completion > length:
            what = f"grpo_max_prompt_length {own} + trl.max_completion_length {completion}"
            made.append(Verdict(False, f"{what} is more than {key} {length}"))
    if own and needed.prompt > own:
        what = f"{_of(prompts, own)} are longer than grpo_max_prompt_length {own}, and dropped"
        made.append(Verdict(False, what))
    total = context[1] if context else needed.prompt + completion
    if limit and total > limit:
        what = f"a context of {total} is more than the model's {limit} (max_position_embeddings)"
        made.append(Verdict(False, what))
    if not made:
        what = "neither vllm.max_model_len nor sequence_len is set: every prompt is kept"
        made.append(Verdict(True, what))
    return made


def _fits(key: str, length: int, needed: Budget, prompts: Lengths, drop: float) -> Verdict:
    room = length - needed.completion
    left = f"{room} tokens" if room > 0 else "no token"
    what = (
        f"{key} {length} - trl.max_completion_length {needed.completion} leaves {left} for a prompt"
    )
    if needed.prompt <= room:
        return Verdict(True, f"{what}; the longest has {prompts.most}")
    return Verdict(
        False, f"{what}: {_of(prompts, room)} are longer, and lost; set {needed.context}"
    )


def _of(prompts: Lengths, limit: int) -> str:
    over = prompts.over(limit)
    return f"{over:,} of {prompts.rows:,} prompts ({over / prompts.rows:.1%})"

"""Check prompt lengths, counted with the real chat template, against the limits that a YAML sets."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from axolotl_grpo_plugin.checks.tools import shown_tools
from axolotl_grpo_plugin.config import block, completion_of, context_of, is_named, tokens_of
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.hub import is_on_hub, skipped
from axolotl_grpo_plugin.stats.measure import Measured, measure
from axolotl_grpo_plugin.stats.rows import Source
from axolotl_grpo_plugin.stats.tokenizer import TokenizerError, name_of, open_tokenizer


def check_prompts(cfg: Any, sources: list[Source], offline: bool) -> Generator[Finding, None, int]:
    """Count the prompts of a raw config and check their lengths. Return the number to train on.

    sources: the datasets that can be read. offline: a tokenizer that is only on the hub makes a
    skipped check.
    """
    try:
        tokenizer = open_tokenizer(cfg)
        tokenizer.tools = shown_tools(cfg)
        measured = [measure(source, cfg, tokenizer) for source in sources]
    except TokenizerError as error:
        name = name_of(cfg)
        missing = offline and is_on_hub(name)
        yield skipped(at(cfg, f"tokenizer ({name})")) if missing else error.finding
        return 0
    for dataset in measured:
        for line in dataset.problems:
            what = line.removeprefix(dataset.name).lstrip(":, ")
            yield Finding(at(cfg, dataset.name), what, "Correct the row, or the transform")
    yield from check_lengths(cfg, measured, tokenizer.context())
    return sum(each.prompts.rows for each in measured if each.label.startswith("datasets"))


def check_lengths(
    cfg: Any, measured: Sequence[Measured], most: int | None, drop: float = 0.0
) -> Iterator[Finding]:
    """Check that prompts and completions fit the context, and the context the model.

    most: tokens that the model can hold (max_position_embeddings), None if unknown. drop: share of
    all prompts, 0 to 1, that may be dropped because of their length.
    """
    if limit := _prompt_limit(cfg, most):
        too_long = sum(dataset.prompts.over(limit[1]) for dataset in measured)
        accepted = too_long <= round(drop * sum(dataset.prompts.rows for dataset in measured), 6)
        for dataset in measured:
            yield from _check_dataset(cfg, dataset, *limit, accepted)
    yield from _check_context(cfg, most)


def _prompt_limit(cfg: Any, most: int | None) -> tuple[str, int] | None:
    """Return the key that limits a prompt and the tokens it leaves, None if nothing limits it."""
    if own := tokens_of(cfg.get("grpo_max_prompt_length")):
        return "grpo_max_prompt_length", own
    completion = completion_of(cfg)
    context = context_of(cfg) or (most and ("max_position_embeddings", most))
    if not context or not completion:
        return None
    key, length = context
    return f"{key} {length} - trl.max_completion_length {completion}", length - completion


def _check_dataset(
    cfg: Any, dataset: Measured, key: str, limit: int, accepted: bool
) -> Iterator[Finding]:
    prompts = dataset.prompts
    over = prompts.over(limit)
    # The transforms count a prompt without the descriptions of tools.
    own = is_named(cfg) and dataset.transform.startswith("axolotl_grpo_plugin.")
    dropped = own and not uses_tools(cfg)
    if not over or (dropped and accepted):
        return
    if not dropped and not block(cfg, "trl").get("use_vllm"):
        return  # transformers has no limit of its own
    result = "they are dropped" if dropped else "vLLM ends the run at the first of them"
    what = (
        f"{over:,} of {prompts.rows:,} prompts ({over / prompts.rows:.1%}) are longer than "
        f"{max(limit, 0)} tokens ({key}), so {result}. "
        f"The longest has {prompts.most}, 99% have at most {prompts.at(0.99)}"
    )
    fix = f"Raise {key.partition(' ')[0]} by {prompts.most - limit}"
    level: Level = "error"
    if not dropped:
        fix += ", or drop them in the transform"
    elif over == prompts.rows:
        what += ". No row is left"
    else:
        fix, level = f"{fix}, or accept the loss", "warning"
    yield Finding(at(cfg, dataset.name), what, fix, level=level)


def _check_context(cfg: Any, most: int | None) -> Iterator[Finding]:
    context, completion = context_of(cfg), completion_of(cfg)
    own = tokens_of(cfg.get("grpo_max_prompt_length"))
    if not context:
        return
    key, length = context
    if completion and own and own + completion > length:
        what = f"{length} is less than grpo_max_prompt_length {own} + trl.max_completion_length {completion}"
        yield Finding(at(cfg, key), what, f"Set it to {own + completion}")
    if most and length > most:
        what = f"{length} is more than the {most} tokens that the model can hold"
        # vLLM refuses to start with such a length; Axolotl trains.
        level: Level = "error" if key == "vllm.max_model_len" else "warning"
        yield Finding(at(cfg, key), what, f"Set it to {most} at most", level=level)

"""How long the prompts are, with the real chat template, against what the YAML sets for them."""

from collections.abc import Generator, Iterator
from typing import Any

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.config import is_named
from axolotl_grpo_plugin.checks.hub import is_on_hub, skipped
from axolotl_grpo_plugin.checks.lengths import context_of, tokens_of
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.paths import block
from axolotl_grpo_plugin.stats.budget import completion_of
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.measure import measure
from axolotl_grpo_plugin.stats.rows import Source
from axolotl_grpo_plugin.stats.tokenizer import TokenizerError, name_of, open_tokenizer


def check_prompts(
    cfg: Any, sources: list[Source], offline: bool
) -> Generator[Finding, None, int | None]:
    """Prompt and completion fit into the context, of the config and of the model.

    Returns the tokens of the longest prompt, None where none is counted.

    sources: the datasets of a raw config that can be read. offline: a tokenizer that is only on
    the hub is a skipped check.
    """
    try:
        tokenizer = open_tokenizer(cfg)
        measured = [(source, measure(source, cfg, tokenizer)) for source in sources]
    except TokenizerError as error:
        name = name_of(cfg)
        missing = offline and is_on_hub(name)
        yield skipped(at(cfg, f"tokenizer ({name})")) if missing else error.finding
        return None
    for source, found in measured:
        for line in found.problems:
            what = line.removeprefix(source.name).lstrip(":, ")
            yield Finding(at(cfg, source.name), what, "Mend the row, or the transform")
        if found.prompts.rows:
            yield from check_lengths(cfg, source, found.prompts, tokenizer.context())
    yield from check_context(cfg, tokenizer.context())
    return max((found.prompts.most for _, found in measured if found.prompts.rows), default=None)


def check_lengths(
    cfg: Any, source: Source, prompts: Lengths, most: int | None
) -> Iterator[Finding]:
    """A dataset's prompts leave room for a completion. most: the tokens that the model can hold."""
    found = _room(cfg, most)
    over = prompts.over(found[1]) if found else 0
    if not found or not over:
        return
    key, room = found
    dropped = is_named(cfg) and str(source.entry.get("type")).startswith("axolotl_grpo_plugin.")
    if not dropped and not block(cfg, "trl").get("use_vllm"):
        return  # transformers generates what there is
    fate = "and dropped" if dropped else "and vLLM ends the run where one of them comes up"
    what = (
        f"{over:,} of {prompts.rows:,} prompts ({over / prompts.rows:.1%}) are longer than the "
        f"{max(room, 0)} tokens that {key} leaves, {fate}; "
        f"the longest has {prompts.most}, 99 % at most {prompts.at(0.99)}"
    )
    mend = f"Raise {key.partition(' ')[0]} by {prompts.most - room}"
    if not dropped:
        yield Finding(at(cfg, source.name), what, f"{mend}, or drop them in the transform")
    elif over == prompts.rows:
        yield Finding(at(cfg, source.name), f"{what}: no row is left", mend)
    else:
        yield Finding(at(cfg, source.name), what, f"{mend}, or accept it", level="warning")


def _room(cfg: Any, most: int | None) -> tuple[str, int] | None:
    """What limits a prompt, and to how many tokens; None where nothing is known to."""
    own = tokens_of(cfg.get("grpo_max_prompt_length"))
    if own:
        return "grpo_max_prompt_length", own
    completion = completion_of(cfg)
    context = context_of(cfg) or (most and ("max_position_embeddings", most))
    if not context or not completion:
        return None
    key, length = context
    return f"{key} {length} - trl.max_completion_length {completion}", length - completion


def check_context(cfg: Any, most: int | None) -> Iterator[Finding]:
    """The config's parts fit into its context, and this into the model's (max_position_embeddings)."""
    context, completion = context_of(cfg), completion_of(cfg)
    own = tokens_of(cfg.get("grpo_max_prompt_length"))
    if context and completion and own and own + completion > context[1]:
        key, length = context
        what = f"grpo_max_prompt_length {own} + trl.max_completion_length {completion} are more than {key} {length}"
        yield Finding(at(cfg, key), what, f"Set it to {own + completion}")
    if context and most and context[1] > most:
        key, length = context
        what = f"{length} is more than the {most} tokens that the model can hold"
        mend = f"Set it to {most} at most"
        if key == "vllm.max_model_len":  # vLLM refuses to start
            yield Finding(at(cfg, key), what, mend)
        else:
            yield Finding(at(cfg, key), what, mend, level="warning")

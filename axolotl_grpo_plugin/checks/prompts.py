"""Check prompt lengths, counted with the real chat template, against the limits that a YAML sets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from axolotl_grpo_plugin.config import Config, context_of, is_named
from axolotl_grpo_plugin.data.measure import Measured
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import Finding, Findings, Level, fault, warning

if TYPE_CHECKING:
    from axolotl_grpo_plugin.checks.data import Data

BY_CHANCE = 0.05  # the share of held-out prompts that may also be trained on


def check_prompts(cfg: Config, data: "Data") -> Findings:
    """Check that all rows can be scored and counted, and that the prompts have room."""
    for name, check in data.row_checks:
        yield from check.findings(name)
    if data.tokenizer:
        # Its folder is that of the model, which another check has not found.
        if data.tokenizer.code != "no-folder" or cfg.tokenizer_config:
            yield data.tokenizer
        return
    for dataset in data.measured:
        name = dataset.source.name
        for line in dataset.problems:
            yield fault(
                "bad-row",
                name,
                line.removeprefix(name).lstrip(":, "),
                "Correct the row, or the transform",
            )
    yield from check_lengths(cfg, data.measured, data.context)
    if not uses_tools(cfg):  # an environment draws another game for the same prompt
        yield from _check_held_out(data)


def _check_held_out(data: "Data") -> Findings:
    """Check that held-out prompts are not trained on, beside the few short ones that are equal by chance."""
    for name, hashes in data.held_out.items():
        count = sum(number in data.trained for number in hashes)
        if count > BY_CHANCE * len(hashes):
            yield warning(
                "held-out-trained",
                name,
                f"{count:,} of {len(hashes):,} held-out prompts are also trained on, so their answers are no evidence",
                "Remove these rows from datasets, or hold out other rows",
            )


def check_lengths(cfg: Config, measured: Sequence[Measured], most: int | None) -> Findings:
    """Check that prompts and completions fit the context, and the context the model.

    most: tokens that the model can hold (max_position_embeddings), None if unknown.
    """
    if limit := _prompt_limit(cfg, most):
        for dataset in measured:
            yield from _check_dataset(cfg, dataset, *limit)
    yield from _check_context(cfg, most)


def _prompt_limit(cfg: Config, most: int | None) -> tuple[str, int] | None:
    """Return the key that limits a prompt and the tokens it leaves, None if nothing limits it."""
    if own := cfg.grpo_max_prompt_length:
        return "grpo_max_prompt_length", own
    completion = cfg.trl.max_completion_length
    key, length = context_of(cfg) or ("max_position_embeddings", most)
    if not length or not completion:
        return None
    return f"{key} {length} - trl.max_completion_length {completion}", length - completion


def _check_dataset(cfg: Config, dataset: Measured, key: str, limit: int) -> Findings:
    prompts = dataset.prompts
    over = prompts.over(limit)
    own = is_named(cfg) and dataset.source.transform.startswith("axolotl_grpo_plugin.")
    # The transforms count a prompt without the descriptions of tools.
    dropped = own and not uses_tools(cfg)
    # transformers has no limit of its own.
    if not over or not (dropped or cfg.trl.use_vllm):
        return
    level: Level = "error"
    result, or_else = "they are dropped. No row is left", ""
    if not dropped:
        result = "vLLM ends the run at the first of them"
        or_else = ", or drop them in the transform"
    elif over < prompts.rows:
        result, or_else = "they are dropped", ", or accept the loss"
        level = "warning"
    yield Finding(
        dataset.source.name,
        f"{over:,} of {prompts.rows:,} prompts ({over / prompts.rows:.1%}) are longer than "
        f"{max(limit, 0)} tokens ({key}), so {result}. "
        f"The longest has {prompts.most}, 99% have at most {prompts.at(0.99)}",
        f"Raise {key.partition(' ')[0]} by {prompts.most - limit}{or_else}",
        level=level,
        code="long-prompts",
    )


def _check_context(cfg: Config, most: int | None) -> Findings:
    context, completion = context_of(cfg), cfg.trl.max_completion_length
    if not context:
        return
    key, length = context
    own = cfg.grpo_max_prompt_length
    if completion and own and own + completion > length:
        yield fault(
            "short-context",
            key,
            f"{length} is less than grpo_max_prompt_length {own} + trl.max_completion_length {completion}",
            f"Set it to {own + completion}",
        )
    if most and length > most:
        # vLLM refuses to start with it; Axolotl trains.
        yield Finding(
            key,
            f"{length} is more than the {most} tokens that the model can hold",
            f"Set it to {most} at most",
            level="error" if key == "vllm.max_model_len" else "warning",
            code="long-context",
        )

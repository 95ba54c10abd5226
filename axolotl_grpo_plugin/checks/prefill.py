"""Check that prompt and rewards agree on who writes the opening <think>."""

from collections.abc import Iterator
from typing import Any

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.reward import BaseReward
from axolotl_grpo_plugin.stats.tokenizer import open_tokenizer

TEMPLATE = "chat_template_jinja: configs/templates/qwen-think.jinja"


def check_prefill(cfg: Any, prompt: Any) -> Iterator[Finding]:
    """Check each reward's option `prefilled` against the end of the prompt.

    cfg: a raw config whose rewards and template work. prompt: of a row, as TRL gets it.
    """
    options = [
        (key, name, prefilled)
        for _, key, function in functions_in(cfg)
        for name, prefilled in _options(function)
    ]
    if not options:
        return
    text = prompt if isinstance(prompt, str) else open_tokenizer(cfg).text(prompt)
    opened = text.rstrip().endswith("<think>")
    for key, name, prefilled in options:
        where = at(cfg, f"grpo_reward_args ({key})")
        if opened and not prefilled:
            what = f"the prompt ends in <think>, but {name} expects that tag in the completion"
            yield Finding(where, what, "Set prefilled: true for it", level="warning")
        elif prefilled and not opened:
            what = f"{name} has prefilled: true, but the prompt does not end in <think>"
            yield Finding(where, what, f"Remove it, or set {TEMPLATE}", level="warning")


def _options(function: BaseReward) -> Iterator[tuple[str, bool]]:
    """Yield name and value of the option `prefilled` of a reward and its inner rewards."""
    if "prefilled" in function.options:
        yield function.__name__, bool(function.options["prefilled"])
    for inner in function.spec.inner:
        yield from _options(inner)

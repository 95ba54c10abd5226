"""Whether the prompt opens the thinking, against what the rewards ask of a completion."""

from collections.abc import Iterator
from typing import Any

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.load import build, is_model, made_of, named
from axolotl_grpo_plugin.stats.tokenizer import open_tokenizer

TEMPLATE = "chat_template_jinja: configs/templates/qwen-think.jinja"


def check_prefill(cfg: Any, prompt: Any) -> Iterator[Finding]:
    """Each reward that has an option `prefilled` says by it whether the prompt ends in `<think>`.

    cfg: its rewards can be built, its template renders. prompt: a row's, as TRL gets it.
    """
    said = [
        (reward.key, name, prefilled)
        for reward in named(cfg)
        if not is_model(reward.key)
        for name, prefilled in options_of(build(reward))
    ]
    if not said:
        return
    text = prompt if isinstance(prompt, str) else open_tokenizer(cfg).text(prompt)
    opened = text.rstrip().endswith("<think>")
    for key, name, prefilled in said:
        where = at(cfg, f"grpo_reward_args ({key})")
        if opened and not prefilled:
            what = f"the prompt ends in <think>, and {name} looks for that tag in the completion"
            yield Finding(where, what, "Set prefilled: true for it", level="warning")
        elif prefilled and not opened:
            what = f"{name} has prefilled: true, and the prompt does not end in <think>"
            yield Finding(where, what, f"Remove it, or set {TEMPLATE}", level="warning")


def options_of(function: Any) -> Iterator[tuple[str, bool]]:
    """The name of a reward and its `prefilled`, where it has that option; and of those it is made of."""
    options = getattr(function, "parameters", None)  # a torch module's are others
    if isinstance(options, dict) and "prefilled" in options:
        yield function.__name__, bool(options["prefilled"])
    for inner in made_of(function):
        yield from options_of(inner)

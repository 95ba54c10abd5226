"""Check the chat template: it opens the model's turn, the rewards know who writes <think>, and answers can end."""

from collections.abc import Iterator
from typing import Any

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.hub import skipped
from axolotl_grpo_plugin.reward import BaseReward
from axolotl_grpo_plugin.stats.end_tokens import after_answer, end_tokens, model_config, turn_end
from axolotl_grpo_plugin.stats.tokenizer import AxolotlTokenizer, open_tokenizer

TURNS = "Set a chat_template that ends turns with a token of the model"
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


def check_generation_prompt(cfg: Any, prompt: Any) -> Iterator[Finding]:
    """Check that the chat template opens the model's turn, so that the model answers.

    Without a generation prompt, the model's text must follow the prompt directly, as after Mistral's [/INST].
    """
    if isinstance(prompt, str) or prompt[-1].get("role") == "assistant":
        return
    tokenizer, answer = open_tokenizer(cfg), "\N{WHITE QUESTION MARK ORNAMENT}"
    asked = tokenizer.text(prompt)
    if asked != tokenizer.text(prompt, generation_prompt=False):
        return
    try:
        whole = tokenizer.text([*prompt, {"role": "assistant", "content": answer}])
    except Exception:  # a template may render questions only
        return
    if not whole.removeprefix(asked).lstrip().startswith(answer):
        what = f"the prompt ends in {asked[-30:]!r}, without the opening of the model's turn"
        fix = "Add the part for add_generation_prompt to the template, or set another chat_template"
        yield Finding(at(cfg, f"chat template ({tokenizer.template_source})"), what, fix)


def check_end_tokens(cfg: Any, prompt: Any) -> Iterator[Finding]:
    """Check that a token ends an answer, and that the chat template ends turns with a token of the model."""
    try:
        model = model_config(cfg)
        tokenizer = AxolotlTokenizer(cfg, open_tokenizer(cfg).folder).real
    except Exception:  # only the hub has the model's files
        yield skipped(at(cfg, "end tokens"))
        return
    if not end_tokens(cfg, tokenizer, model):
        what = "neither the model nor its tokenizer has an end token, so no answer ends before the limit"
        yield Finding(at(cfg, "base_model"), what, "Set eos_token in special_tokens")
    written = tokenizer.decode(after_answer(tokenizer)).strip()
    known = range(model.get("vocab_size", len(tokenizer)))  # Gemma 3 has it elsewhere
    if written and turn_end(tokenizer) not in known and not isinstance(prompt, str):
        what = f"it ends an answer with {written!r}, which is no token of the model, so it cannot stop there"
        yield Finding(at(cfg, "chat template"), what, TURNS, level="warning")


def _options(function: BaseReward) -> Iterator[tuple[str, bool]]:
    """Yield name and value of the option `prefilled` of a reward and its inner rewards."""
    if "prefilled" in function.options:
        yield function.__name__, bool(function.options["prefilled"])
    for inner in function.spec.inner:
        yield from _options(inner)

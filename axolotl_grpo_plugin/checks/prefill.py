"""Check the chat template: it opens the model's turn, the rewards know who writes <think>, and answers can end."""

from collections.abc import Iterator

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import after_answer, end_tokens, model_config, turn_end
from axolotl_grpo_plugin.data.hub import skipped
from axolotl_grpo_plugin.data.tokenizer import AxolotlTokenizer, Prompt, Tokenizer
from axolotl_grpo_plugin.findings import Findings, fault, warning
from axolotl_grpo_plugin.reward import BaseReward
from axolotl_grpo_plugin.thinking import ends_in_empty_thinking, opened_by

ANSWER = "\N{WHITE QUESTION MARK ORNAMENT}"  # no template has this character
TEMPLATE = "chat_template_jinja: configs/templates/qwen-think.jinja"


def check_prefill(cfg: Config, tokenizer: Tokenizer, prompt: Prompt) -> Findings:
    """Check that the prompt's end fits the rewards of thinking.

    A reward sees the `<think>` that a prompt ends in. So only thinking that the prompt does not open, or that it has
    closed already, is wrong.

    cfg: a raw config whose rewards and template work. tokenizer: of the config. prompt: of a row, as TRL gets it.
    """
    text: str | None = None
    for _, key, function in functions_in(cfg):
        for name, prefilled in _options(function):
            if text is None:  # most rewards need no rendered prompt
                text = prompt if isinstance(prompt, str) else tokenizer.text(prompt)
            where = f"grpo_reward_args ({key})"
            if ends_in_empty_thinking(text):
                yield warning(
                    "no-thinking",
                    where,
                    f"the prompt ends in thinking that is closed and empty, so {name} cannot pay thinking",
                    "Set grpo_trl_args: chat_template_kwargs: {enable_thinking: true}, or remove the reward",
                )
            elif prefilled and not opened_by(text):
                yield warning(
                    "prefilled",
                    where,
                    f"{name} has prefilled: true, but the prompt does not end in <think>",
                    f"Remove it, or set {TEMPLATE}",
                )


def check_generation_prompt(tokenizer: Tokenizer, prompt: Prompt) -> Findings:
    """Check that the chat template opens the model's turn, so that the model answers.

    Without a generation prompt, the model's text must follow the prompt directly, as after Mistral's [/INST].
    """
    if isinstance(prompt, str) or prompt[-1].get("role") == "assistant":
        return
    asked = tokenizer.text(prompt)
    if asked != tokenizer.text(prompt, generation_prompt=False):
        return
    try:
        whole = tokenizer.text([*prompt, {"role": "assistant", "content": ANSWER}])
    except Exception:  # a template may render questions only
        return
    if not whole.removeprefix(asked).lstrip().startswith(ANSWER):
        yield fault(
            "no-generation-prompt",
            f"chat template ({tokenizer.template_source})",
            f"the prompt ends in {asked[-30:]!r}, without the opening of the model's turn",
            "Add the part for add_generation_prompt to the template, or set another chat_template",
        )


def check_end_tokens(cfg: Config, opened: Tokenizer, prompt: Prompt) -> Findings:
    """Check that a token ends an answer, and that the chat template ends turns with a token of the model."""
    try:
        model = model_config(cfg)
        tokenizer = AxolotlTokenizer(cfg, opened.folder).real
    except Exception:  # only the hub has the model's files
        yield skipped("end tokens")
        return
    if not end_tokens(cfg, tokenizer, model):
        yield fault(
            "no-end-token",
            "base_model",
            "neither the model nor its tokenizer has an end token, so no answer ends before the limit",
            "Set eos_token in special_tokens",
        )
    written = tokenizer.decode(after_answer(tokenizer)).strip()
    known = range(model.get("vocab_size", len(tokenizer)))  # Gemma 3 has it elsewhere
    if written and turn_end(tokenizer) not in known and not isinstance(prompt, str):
        yield warning(
            "unknown-end-token",
            "chat template",
            f"it ends an answer with {written!r}, which is no token of the model, so it cannot stop there",
            "Set a chat_template that ends turns with a token of the model",
        )


def _options(function: BaseReward) -> Iterator[tuple[str, bool]]:
    """Yield name and value of the option `prefilled` of a reward and its inner rewards."""
    if "prefilled" in function.options:
        yield function.__name__, bool(function.options["prefilled"])
    for inner in function.spec.inner:
        yield from _options(inner)

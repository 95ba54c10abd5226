"""The trainer and `axolotl-grpo stats` render the pack's chat templates alike."""

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from axolotl_grpo_plugin.paths import shipped
from tests.conftest import MODEL

THINK = shipped("configs") / "templates" / "qwen-think.jinja"


def as_trainer(chat, generation_prompt=True, **options):
    """Render a chat as TRL does, with the template that Axolotl gives the tokenizer."""
    from axolotl.utils.chat_templates.base import get_chat_template
    from transformers import PreTrainedTokenizerFast

    template = get_chat_template("jinja", str(THINK))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(MODEL / "tokenizer.json"), chat_template=template)
    return tokenizer.apply_chat_template(chat, add_generation_prompt=generation_prompt, tokenize=False, **options)


def as_stats(chat, generation_prompt=True, **options):
    """Render a chat as `axolotl-grpo stats` and `check` do, without transformers."""
    cfg = {"base_model": str(MODEL), "chat_template_jinja": str(THINK)}
    cfg["grpo_trl_args"] = {"chat_template_kwargs": options}
    return open_tokenizer(Config(cfg)).text(chat, generation_prompt)


def turn(role, content):
    return {"role": role, "content": content}


pytestmark = pytest.mark.parametrize("render", [as_trainer, as_stats])
SYSTEM, QUESTION = turn("system", "Think."), turn("user", "1 + 1?")
PROMPT = "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n<think>\n"


def test_prompt_ends_within_the_thinking(render):
    assert render([SYSTEM, QUESTION]) == PROMPT
    assert render([QUESTION]).startswith("<|im_start|>user\n1 + 1?")


def test_option_adds_a_system_turn_to_chats_without_one(render):
    assert render([QUESTION], system="Think.") == PROMPT
    assert render([SYSTEM, QUESTION], system="Do not.") == PROMPT


@pytest.mark.parametrize("answer", ["hm\n</think>\n2", "<think>\nhm\n</think>\n2"])
def test_prompt_and_completion_are_one_text(render, answer):
    """TRL renders both for a reward model. The result is the model's own text, even if it repeats the tag."""
    whole = render([SYSTEM, QUESTION, turn("assistant", answer)], generation_prompt=False)
    assert whole == f"{PROMPT}hm\n</think>\n2<|im_end|>\n"


def test_earlier_thinking_is_left_out(render):
    chat = [QUESTION, turn("assistant", "<think>\nhm\n</think>\n\n2"), QUESTION]
    chat += [turn("assistant", "It is </think> again: 2"), turn("assistant", "plain"), QUESTION]
    text = render(chat)
    assert "hm" not in text and "It is" not in text
    assert text.count("<think>") == 1 and text.endswith("<|im_start|>assistant\n<think>\n")
    assert "<|im_start|>assistant\n2<|im_end|>" in text
    assert "<|im_start|>assistant\nplain<|im_end|>" in text


def test_answer_without_thinking_gets_no_tags(render):
    text = render([QUESTION, turn("assistant", "2")], generation_prompt=False)
    assert "<think>" not in text

from pathlib import Path

import pytest

import axolotl_grpo_plugin
from axolotl_grpo_plugin.checks.prefill import check_prefill
from axolotl_grpo_plugin.paths import shipped

MODEL = Path(axolotl_grpo_plugin.__file__).parent / "quickstart" / "model"
FORMAT = "axolotl_grpo_plugin.rewards.format"
SHAPING = "axolotl_grpo_plugin.rewards.shaping"
STRICT = f"{FORMAT}.think_strict_format_reward_func"
HASHES = f"{FORMAT}.hash_correctness_reward_func"
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
OPENED, PLAIN = "1 + 1?\n<think>\n", "1 + 1?"


def findings(prompt, rewards, **cfg):
    """rewards: their paths and arguments."""
    cfg = {"trl": {"reward_funcs": list(rewards)}, "grpo_reward_args": rewards, **cfg}
    return [(each.level, str(each)) for each in check_prefill(cfg, prompt)]


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [(OPENED, {"prefilled": True}), (PLAIN, {}), (PLAIN, {"prefilled": False})],
)
def test_accepts_prefilled_that_agrees_with_the_prompt(prompt, arguments):
    assert not findings(prompt, {STRICT: arguments, HASHES: arguments, CORRECT: {}})


def test_reports_a_reward_that_expects_the_prompts_tag():
    ((level, line),) = findings(OPENED, {CORRECT: {}, STRICT: {}, HASHES: {"prefilled": True}})
    assert level == "warning"
    assert line == (
        f"grpo_reward_args ({STRICT}): the prompt ends in <think>, but think_strict_format_reward_func "
        "expects that tag in the completion. Set prefilled: true for it."
    )


def test_reports_prefilled_without_a_tag_in_the_prompt():
    ((level, line),) = findings(PLAIN, {STRICT: {"prefilled": True}})
    assert level == "warning"
    assert "has prefilled: true, but the prompt does not end in <think>. Remove it, or set" in line


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gated", {"reward": STRICT, "by": CORRECT}),
        ("gated", {"reward": f"{FORMAT}.think_format_reward_func", "by": HASHES}),
        ("cosine_length", {"by": HASHES, "max_len": 9}),
        ("kimi_length", {"by": HASHES}),
    ],
)
def test_reports_a_reward_inside_another(name, arguments):
    lines = findings(OPENED, {f"{SHAPING}.{name}": arguments})
    assert len(lines) == 1 + (HASHES in arguments.values() and name == "gated")
    assert all(f"{name}): the prompt ends in <think>" in line for _, line in lines)


def test_renders_chats_with_the_configs_template():
    chat = [{"role": "user", "content": "1 + 1?"}]
    template = str(shipped("configs") / "templates" / "qwen-think.jinja")
    told = {STRICT: {"prefilled": True}}
    assert not findings(chat, told, base_model=str(MODEL), chat_template_jinja=template)
    assert findings(chat, told, base_model=str(MODEL))


def test_opens_no_tokenizer_without_such_a_reward():
    assert not findings([{"role": "user", "content": "1 + 1?"}], {CORRECT: {}, "some/model": {}})

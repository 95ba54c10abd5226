import pytest

from axolotl_grpo_plugin.checks.prefill import check_generation_prompt, check_prefill
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from axolotl_grpo_plugin.paths import resolve_packaged, shipped
from tests.checks.found import codes, levels

FORMAT = "axolotl_grpo_plugin.rewards.format"
SHAPING = "axolotl_grpo_plugin.rewards.shaping"
STRICT = f"{FORMAT}.think_strict_format_reward_func"
THINK = f"{FORMAT}.think_format_reward_func"
HASHES = f"{FORMAT}.hash_correctness_reward_func"
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
OPENED, PLAIN = "1 + 1?\n<think>\n", "1 + 1?"
CHAT = [{"role": "user", "content": PLAIN}]


def findings(prompt, rewards, **cfg):
    """rewards: their paths and arguments."""
    cfg = {"trl": {"reward_funcs": list(rewards)}, "grpo_reward_args": rewards, **cfg}
    tokenizer = open_tokenizer(Config(cfg)) if "base_model" in cfg else None  # a text needs none
    return levels(check_prefill(Config(cfg), tokenizer, prompt))


@pytest.mark.parametrize(
    "prompt, arguments", [(OPENED, {"prefilled": True}), (PLAIN, {}), (PLAIN, {"prefilled": False})]
)
def test_accepts_prefilled_that_agrees_with_the_prompt(prompt, arguments):
    assert not findings(prompt, {STRICT: arguments, HASHES: arguments, CORRECT: {}})


def test_reports_a_reward_that_disagrees_with_the_prompt():
    rewards = {CORRECT: {}, STRICT: {}, HASHES: {"prefilled": True}}
    assert not findings(OPENED, rewards)  # a reward sees the mark that the prompt opens
    assert findings(PLAIN, {STRICT: {"prefilled": True}}) == [("warning", "prefilled")]


@pytest.mark.parametrize("prefilled", [False, True])
def test_reports_thinking_that_the_prompt_has_closed(prefilled):
    rewards = {CORRECT: {}, STRICT: {"prefilled": prefilled}}
    assert findings(f"{OPENED}\n</think>\n\n", rewards) == [("warning", "no-thinking")]
    assert not findings(f"{PLAIN}</think>", {STRICT: {}})


@pytest.mark.parametrize(
    "name, arguments, count",
    [
        ("gated", {"reward": STRICT, "reward_args": {"prefilled": True}, "by": CORRECT}, 1),
        ("gated", {"reward": THINK, "reward_args": {"prefilled": True}, "by": HASHES}, 1),
        ("cosine_length", {"by": HASHES, "by_args": {"prefilled": True}, "max_len": 9}, 1),
        ("kimi_length", {"by": HASHES, "by_args": {"prefilled": True}}, 1),
    ],
)
def test_reports_a_reward_inside_another(name, arguments, count):
    found = findings(PLAIN, {f"{SHAPING}.{name}": arguments})
    assert found == [("warning", "prefilled")] * count


def test_renders_chats_with_the_configs_template():
    model = {"base_model": "pkg://axolotl_grpo_plugin/quickstart/model"}
    resolve_packaged(Config(model))
    template = str(shipped("configs") / "templates" / "qwen-think.jinja")
    rewards = {STRICT: {"prefilled": True}}
    assert not findings(CHAT, rewards, chat_template_jinja=template, **model)
    assert findings(CHAT, rewards, **model)


def test_opens_no_tokenizer_without_such_a_reward():
    assert not findings(CHAT, {CORRECT: {}, "some/model": {}})


CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPENING = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)


def opened(template, prompt=CHAT):
    cfg = {"base_model": "pkg://axolotl_grpo_plugin/quickstart/model", "chat_template_jinja": template}
    resolve_packaged(Config(cfg))
    return codes(check_generation_prompt(open_tokenizer(Config(cfg)), prompt))


def test_reports_a_template_without_generation_prompt():
    assert opened(CHATML) == ["no-generation-prompt"]


def test_accepts_templates_that_open_the_models_turn():
    assert not opened(CHATML + OPENING)
    assert not opened(INST)  # the model's text follows the question directly
    assert not opened(CHATML, PLAIN)  # a text gets no template
    assert not opened(CHATML, [*CHAT, {"role": "assistant", "content": "<think>"}])

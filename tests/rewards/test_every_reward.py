"""Properties that every reward has for every completion: its range, its reasons, and linear time."""

import json
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import THINK_TAGS
from axolotl_grpo_plugin.rewards import countdown, format, gsm8k, gym, math, puzzles
from axolotl_grpo_plugin.rewards.shaping import reasoning_steps_reward_func as steps

GRID = json.dumps({"header": ["House", "Pet"], "rows": [["1", "cat"], ["2", "owl"]]})
GSM8K = [
    gsm8k.correctness_reward_func,
    gsm8k.int_reward_func,
    gsm8k.strict_format_reward_func,
    gsm8k.soft_format_reward_func,
    gsm8k.xmlcount_reward_func,
]
LAYOUTS = [
    format.think_strict_format_reward_func,
    format.think_soft_format_reward_func,
    format.think_format_reward_func,
    format.tag_count_reward_func,
    format.hash_format_reward_func,
    format.hash_correctness_reward_func,
]
PREFILLED = [each.bind(prefilled=True) for each in LAYOUTS]
PUZZLES = [puzzles.exact_reward_func.bind(separator="|"), puzzles.grid_reward_func]
EQUATION, MATH = countdown.equation_reward_func, math.accuracy_reward_func
REWARDS = [*GSM8K, *LAYOUTS, *PREFILLED, steps, *PUZZLES, EQUATION]
assert not [each for each in REWARDS if each.spec.first], "call `quick` for rewards that are slow"


def columns(reward, gold):
    values = {"answer": gold, "solution": gold, "nums": [1, 4, 19, 42], "target": 64}
    return {name: values[name] for name in reward.spec.reads}


pieces = st.sampled_from(
    [*THINK_TAGS, "<reasoning>", "</reasoning>", "\n", "\r\n", " ", "18", "...", "a", "####", "#", "*",
     r"\boxed{", "}", "```", "json\n", "[", "{", '"', ":", "|", ",", "-", "$", "42 + 19", "1. ", "- "]
)  # fmt: skip
texts = st.lists(pieces | st.text(max_size=5), max_size=14).map("".join)
golds = st.sampled_from(["18", "[1, 2]", GRID, ""]) | texts


@given(texts, golds)
def test_any_text_gets_a_score_in_range_and_a_declared_reason(text, gold):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reward in REWARDS:
            for completion in (text, f"<answer>{text}</answer>"):
                value, reason, _ = reward.score(completion, **columns(reward, gold))
                low, high = reward.range
                assert reason in reward.spec.reasons
                assert reason == "bad_gold" if value is None else low <= value <= high
            chat = [{"role": "assistant", "content": text}]
            row = columns(reward, gold)
            assert reward.score(chat, **row) == reward.score(text, **row)


@given(st.lists(st.tuples(texts, st.sampled_from(["18", "17", None])), max_size=6), st.randoms())
def test_permuted_batch_permutes_scores(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    for reward in REWARDS:

        def run(batch, reward=reward):
            each = [columns(reward, gold) for _, gold in batch]
            by_name = {name: [row[name] for row in each] for name in reward.spec.reads}
            return reward([""] * len(batch), [text for text, _ in batch], **by_name)

        values = run(rows)
        assert run([rows[place] for place in order]) == [values[place] for place in order]


TAGS = ["<answer>", "</answer>", "</think>", "<answer>18</answer>", "<think>a", "</answe", "\n", " "]
# rewards, their gold, texts that are repeated, the text around them
LONG = [
    (GSM8K, "18", [*TAGS, "1,111", "a-", "1 "],
     ["{}", "<answer>{}</answer>", "<answer>18 {}!</answer>", "<reasoning>{}"]),
    (LAYOUTS, "18", [*TAGS, "<think>", "#", "#### 1\n", "*", "1"],
     ["{}", "<think>{}</think>#### 18", "<think>a</think>#### {}!"]),
    ([steps], "", ["- \n", "- a\n", "- a b c\n", "1. ", "1.\n", "step ", "Step 1", "#a \n", "First,"],
     ["<think>{}</think>"]),
    ([MATH], "18", [*TAGS, "{", "}", r"\boxed{", r"\boxed{7}", "####1\n", "1,", "9", "^{9", "\\", "( ", "="],
     ["{}", r"\boxed{{{}}}", "<answer>{}</answer>", "#### {}"]),
    (PUZZLES, GRID, [*TAGS, "```", "```json\n1", r"\boxed{", r"\boxed{1}", "[", "."],
     ["{}", "<answer>{}</answer>"]),
    ([EQUATION], "", [*TAGS, "(", "-", "1+"], ["{}", "<answer>{}</answer>"]),
    ([gym.gym_reward_func], "", [*TAGS, "("], ["{}"]),
]  # fmt: skip
ENTRY = {"question": "?", "answer": "-4", "metadata": {"source_dataset": "coin_flip"}}


@pytest.mark.parametrize(
    ("rewards", "gold", "unit", "wrap"),
    [
        pytest.param(rewards, gold, unit, wrap, id=f"{rewards[0].__name__}-{unit}-{wrap}")
        for rewards, gold, units, wraps in LONG
        for unit in units
        for wrap in wraps
    ],
)
def test_a_megabyte_takes_milliseconds(rewards, gold, unit, wrap):
    completion = wrap.format(unit * (1_000_000 // len(unit)))
    for reward in rewards:
        row = {"entry": ENTRY} if reward.spec.reads == ("entry",) else columns(reward, gold)

        def seconds(reward=reward, row=row):
            start = time.process_time()
            assert (reward.quick if reward.spec.first else reward.score)(completion, **row)
            return time.process_time() - start

        # At most 0.6 s here. Quadratic work on a megabyte takes minutes, so the bound can be wide.
        assert any(seconds() < 2.0 for _ in range(2))

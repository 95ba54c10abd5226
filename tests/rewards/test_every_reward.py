"""Properties that every reward has for every completion: its range, its reasons, and linear time."""

import asyncio
import doctest
import json
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import THINK_TAGS
from axolotl_grpo_plugin.reward import Reward
from axolotl_grpo_plugin.rewards import (
    choice,
    code,
    countdown,
    dispatch,
    format,
    gsm8k,
    gym,
    instructions,
    json_schema,
    judge,
    math,
    puzzles,
    shaping,
    tool_call,
)
from axolotl_grpo_plugin.rewards.programs import same
from axolotl_grpo_plugin.rewards.shaping import reasoning_steps_reward_func as steps

GRID = json.dumps({"header": ["House", "Pet"], "rows": [["1", "cat"], ["2", "owl"]]})
ENTRY = {"question": "?", "answer": "-4", "metadata": {"source_dataset": "coin_flip"}}
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
PREFILLED = [layout.bind(prefilled=True) for layout in LAYOUTS]
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
SHAPED = [
    shaping.gated("axolotl_grpo_plugin.rewards.gsm8k.soft_format_reward_func", CORRECT),
    shaping.cosine_length(CORRECT, 7, min_value_wrong=-3.0),
]
PUZZLES = [puzzles.exact_reward_func.bind(separator="|"), puzzles.grid_reward_func]
EQUATION, MATH = countdown.equation_reward_func, math.accuracy_reward_func
CHOICE, CALLS = choice.choice_reward_func, tool_call.tool_call_reward_func
FAST = [*GSM8K, *LAYOUTS, *PREFILLED, steps, *PUZZLES, EQUATION, CHOICE, CALLS]
assert not any(reward.spec.first for reward in FAST), "call `quick` for rewards that are slow"
REWARDS = [*FAST, *SHAPED]


def columns(reward, gold):
    values = {"answer": gold, "solution": gold, "nums": [1, 4, 19, 42], "target": 64, "completion_ids": [0] * 5}
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
        values = run(reward, rows)
        moved = run(reward, [rows[place] for place in order])
        assert moved == [values[place] for place in order]


def run(reward, batch):
    given = [columns(reward, gold) for _, gold in batch]
    by_name = {name: [row[name] for row in given] for name in reward.spec.reads}
    return reward([""] * len(batch), [text for text, _ in batch], **by_name)


SHIPPED = [
    reward
    for module in (
        choice,
        code,
        countdown,
        format,
        gsm8k,
        gym,
        instructions,
        json_schema,
        math,
        puzzles,
        shaping,
        tool_call,
    )
    for reward in vars(module).values()
    if isinstance(reward, Reward) and reward.__module__ == module.__name__
]
MADE = [*SHAPED, shaping.kimi_length(CORRECT), dispatch.dispatch(), judge.judge("m", "http://localhost:1/v1")]
NO_COMPLETIONS = [
    None,
    18,
    1.5,
    b"18",
    {"role": "assistant", "content": "18"},
    ["<answer>18</answer>"],
    [None],
    [[{"role": "assistant", "content": "18"}]],
    [{"role": "assistant", "content": 18}],
    [{"role": "assistant", "content": b"18"}],
    [{"role": "assistant", "content": {"text": "18"}}],
    [{"role": "assistant", "content": [18]}],
    [{"role": "assistant", "content": [{"type": "text", "text": 18}]}],
]


def row_of(reward):
    row = {"entry": ENTRY, "tests": '{"inputs": ["1"], "outputs": ["1"]}', "data_source": "openai/gsm8k"}
    row |= {"schema": {"type": "integer"}, "kwargs": [{}], "instruction_id_list": ["punctuation:no_comma"]}
    values = {"answer": "18", "solution": "18", "ground_truth": "18", "nums": [18], "target": 18, **row}
    return {name: values.get(name) for name in reward.spec.columns}


def test_all_shipped_rewards_are_tested():
    assert len(SHIPPED) == 22


@pytest.mark.parametrize("reward", [*SHIPPED, *MADE], ids=lambda reward: reward.__name__)
@pytest.mark.parametrize("completion", NO_COMPLETIONS, ids=repr)
def test_refuses_what_is_no_completion_with_one_error(reward, completion):
    batch = {name: [value] for name, value in {**row_of(reward), "completion_ids": [1]}.items()}
    with pytest.raises(TypeError, match=r"^completion: [a-zA-Z]+ is neither text nor chat messages"):
        scores = reward(["18?"], [completion], **batch)
        asyncio.run(scores)


@pytest.mark.parametrize("reward", SHIPPED, ids=lambda reward: reward.__name__)
def test_reads_messages_without_a_role_and_parts_that_are_text(reward):
    own = row_of(reward)
    for text in ("<think>a</think>\n<answer>18</answer>", "<answer>-4</answer>", "nothing", ""):
        wanted = reward.quick(text, **own)
        assert reward.quick([{"content": text}], **own) == wanted
        assert reward.quick([{"role": "assistant", "content": [text]}], **own) == wanted
    assert reward.quick([{"role": "user", "content": "<answer>18</answer>"}], **own) == reward.quick("", **own)


TAGS = ["<answer>", "</answer>", "</think>", "<answer>18</answer>", "<think>a", "</answe", "\n", " "]
# rewards, their gold, texts that are repeated, the text around them
LONG = [
    (GSM8K, "18", [*TAGS, "\u200b", "1,111", "a-", "1 "],
     ["{}", "<answer>{}</answer>", "<answer>18 {}!</answer>", "<reasoning>{}"]),
    (LAYOUTS, "18", [*TAGS, "<think>", "#", "#### 1\n", "*", "1"],
     ["{}", "<think>{}</think>#### 18", "<think>a</think>#### {}!"]),
    ([steps], "", ["- \n", "- a\n", "- a b\n", "- a b c\n", "1. ", "1.\n", "step ", "Step 1", "#a \n", "First,"],
     ["<think>{}</think>"]),
    ([MATH], "18", [*TAGS, "{", "}", r"\boxed{", r"\boxed{7}", "####1\n", "1,", "9", "^{9", "\\", "( ", "="],
     ["{}", r"\boxed{{{}}}", "<answer>{}</answer>", "#### {}"]),
    (PUZZLES, GRID, [*TAGS, "```", "```json\n1", r"\boxed{", r"\boxed{1}", "[", "."],
     ["{}", "<answer>{}</answer>"]),
    ([EQUATION], "", [*TAGS, "(", "-", "1+"], ["{}", "<answer>{}</answer>"]),
    ([CALLS], '[{"name": "f", "arguments": {}}]',
     [*TAGS, "<tool_call>", "</tool_call>", "<tool_call>1</tool_call>", '{"name": "f", "arguments": {}}', "{", "[", '"', "```\n"],
     ["{}", "<tool_call>{}</tool_call>", "<answer>{}</answer>"]),
    ([gym.gym_reward_func], "", [*TAGS, "("], ["{}"]),
]  # fmt: skip


@pytest.mark.every(5)
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

        score = reward.quick if reward.spec.first else reward.score
        # At most 0.1 s here. Python may collect the garbage of other tests meanwhile, so it has three tries.
        for _ in range(3):
            start = time.process_time()
            assert score(completion, **row)
            spent = time.process_time() - start
            if spent < 0.3:
                break
        assert spent < 0.3


@pytest.mark.parametrize(
    "module", [same, choice, countdown, dispatch, format, gsm8k, instructions, json_schema, math, puzzles, shaping]
)
def test_docstring_examples(module):
    """doctest alone finds no examples in rewards."""
    runner = doctest.DocTestRunner()
    finder = doctest.DocTestFinder(recurse=False)
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", "") == module.__name__
        if is_own and callable(value):
            for examples in finder.find(value, name, module=False, globs=dict(vars(module))):
                runner.run(examples)
    assert runner.failures == 0 < runner.tries

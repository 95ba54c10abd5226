"""Tool calls: the forms of Hermes, Qwen, xLAM, ToolRL, OpenAI and TRL, and the rules of the comparison."""

import json

import pytest

from axolotl_grpo_plugin.rewards.dispatch import dispatch
from axolotl_grpo_plugin.rewards.tool_call import tool_call_reward_func as reward

ROME = {"name": "weather", "arguments": {"city": "Rome", "days": 3}}
OSLO = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
TIME = {"name": "time", "arguments": {}}
BOTH = [ROME, OSLO]
TOOLRL = '<think> Two calls. </think>\n<tool_call>\n{"name": "weather", "parameters": {"city": "Rome", "days": 3}}\n' \
    '{"name": "weather", "parameters": {"city": "Oslo", "days": 3}}\n</tool_call>'  # fmt: skip


def hermes(*calls):
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


def openai(*calls, as_text=True):
    entries = []
    for number, call in enumerate(calls):
        arguments = json.dumps(call["arguments"]) if as_text else call["arguments"]
        function = {"name": call["name"], "arguments": arguments}
        entries.append({"id": f"call_{number}", "type": "function", "function": function})
    return entries


def message(*calls, content="", **options):
    return [{"role": "assistant", "content": content, "tool_calls": openai(*calls, **options)}]


def scored(completion, solution=BOTH, function=reward, **row):
    return function.score(completion, solution=solution, **row)[:2]


GOLDS = [
    BOTH,
    json.dumps(BOTH),
    openai(*BOTH),
    openai(*BOTH, as_text=False),
    json.dumps(openai(*BOTH)),
    hermes(*BOTH),
    TOOLRL,
]
RIGHT = [
    hermes(*BOTH),
    hermes(OSLO, ROME),
    f"I call two tools.\n{hermes(*BOTH)}\nDone.",
    hermes(BOTH),
    hermes(ROME, {"name": "weather", "parameters": {"days": 3.0, "city": "Oslo"}}),
    f"<think>\n{hermes(TIME)}\n</think>\n{hermes(*BOTH)}",
    TOOLRL,
    json.dumps(BOTH),
    json.dumps(BOTH, indent=2),
    f"```json\n{json.dumps(BOTH)}\n```",
    f"<answer>{json.dumps(BOTH)}</answer>",
    json.dumps(openai(*BOTH)),
    message(*BOTH),
    message(OSLO, ROME, as_text=False),
    message(*BOTH, content="I call two tools."),
    [*message(ROME), {"role": "tool", "name": "weather", "content": "sunny"}, *message(OSLO)],
]


@pytest.mark.parametrize("solution", GOLDS, ids=range(len(GOLDS)))
@pytest.mark.parametrize("completion", RIGHT, ids=range(len(RIGHT)))
def test_calls_in_each_form(completion, solution):
    assert scored(completion, solution) == (1, "correct")


@pytest.mark.parametrize(
    "completion, reason",
    [
        ("", "no_answer"),
        ("I call weather for Rome and Oslo.", "no_answer"),
        ("[]", "no_answer"),
        ("<tool_call></tool_call>", "no_answer"),
        (hermes(ROME), "wrong_calls"),
        (hermes(ROME, ROME), "wrong_arguments"),
        (hermes(ROME, OSLO, OSLO), "wrong_calls"),
        (hermes(ROME, OSLO, TIME), "wrong_calls"),
        (hermes(ROME, TIME), "wrong_calls"),
        (hermes(ROME, {**OSLO, "name": "Weather"}), "wrong_calls"),
        (hermes(ROME, {"name": "weather", "arguments": {"city": "oslo", "days": 3}}), "wrong_arguments"),
        (hermes(ROME, {"name": "weather", "arguments": {"city": "Oslo", "days": "3"}}), "wrong_arguments"),
        (hermes(ROME, {"name": "weather", "arguments": {"city": "Oslo"}}), "wrong_arguments"),
        (hermes(ROME, {"name": "weather", "arguments": {"city": "Oslo", "days": 3, "unit": "C"}}), "wrong_arguments"),
        (hermes(ROME, {**OSLO, "parameters": {}}), "unreadable"),
        (hermes(ROME, {"name": "weather", "arguments": ["Oslo", 3]}), "unreadable"),
        (hermes(ROME, {"arguments": {}}), "unreadable"),
        (hermes(ROME, {"name": "weather"}), "unreadable"),
        (hermes(ROME, {"name": "weather", "arguments": None}), "unreadable"),
        (hermes(ROME, "weather"), "unreadable"),
        ("<tool_call>weather(city='Rome')</tool_call>", "not_json"),
        (f"{hermes(*BOTH)}\n<tool_call>\n{json.dumps(TIME)}", "truncated"),
        (f"<tool_call>{hermes(*BOTH)}", "truncated"),
        (f"</tool_call>{hermes(*BOTH)}", "unreadable"),
        (f"<think>\n{hermes(*BOTH)}", "truncated"),
        (f"Calls: {json.dumps(BOTH)}", "no_answer"),
        (json.dumps({"calls": BOTH}), "unreadable"),
        ("<tool_call>" + '{"a":' * 500 + "1" + "}" * 500 + "</tool_call>", "unreadable"),
        (message(ROME), "wrong_calls"),
        (message(ROME, content=hermes(OSLO)), "wrong_calls"),
        ([{"role": "user", "content": "", "tool_calls": openai(*BOTH)}], "no_answer"),
    ],
)  # fmt: skip
def test_other_calls_earn_nothing(completion, reason):
    assert scored(completion) == (0, reason)


def test_one_is_neither_true_nor_text():
    for value, others in ((1, (True, "1")), (True, (1, "true")), (0, (False, None))):
        gold = json.dumps({"name": "set", "arguments": {"x": value}})
        assert scored(gold, gold) == (1, "correct")
        for other in others:
            assert scored(json.dumps({"name": "set", "arguments": {"x": other}}), gold) == (0, "wrong_arguments")


@pytest.mark.parametrize(
    "calls, value",
    [([ROME], 0.5), ([ROME, OSLO], 1.0), ([ROME, OSLO, TIME, TIME], 0.5), ([TIME], 0.0), ([ROME, ROME], 0.5)],
)
def test_partial_pays_the_share_of_right_calls(calls, value):
    assert scored(hermes(*calls), function=reward.bind(partial=True))[0] == value


def test_arguments_under_another_name_are_not_left_out():
    assert scored('{"name": "time", "args": {"city": "Rome"}}', [TIME]) == (0, "unreadable")


@pytest.mark.parametrize(
    "solution", ["", "no idea", "[]", [], ["no gold"], 5, "{}", "<tool_call>", "<tool_call></tool_call>"]
)
def test_gold_without_a_call_has_no_score(solution):
    assert reward.row_problem({"solution": solution}) == "the gold answer is no list of tool calls"
    for completion in (hermes(ROME), "[]", ""):
        assert scored(completion, solution) == (None, "bad_gold")


def test_nulls_that_arrow_fills_in_are_no_arguments():
    assert scored(hermes(TIME), [{"name": "time", "arguments": {"city": None}}]) == (1, "correct")
    assert scored(hermes(TIME), '[{"name": "time", "arguments": {"city": null}}]') == (0, "wrong_arguments")


def test_structured_calls_reach_the_reward_in_a_batch_and_behind_dispatch():
    routed = dispatch({"calls": "axolotl_grpo_plugin.rewards.tool_call.tool_call_reward_func"})
    batch = [message(*BOTH), message(ROME), hermes(*BOTH)]
    columns = {"solution": [BOTH] * 3, "data_source": ["calls"] * 3}
    assert reward([""] * 3, batch, **columns) == [1.0, 0.0, 1.0]
    assert routed([""] * 3, batch, **columns) == [1.0, 0.0, 1.0]

"""Thinking is read by the marks of each model family, and never paid if it does not close."""

import time

import pytest

from axolotl_grpo_plugin import thinking
from axolotl_grpo_plugin.completions import find_answer, text_of
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.rewards import code, countdown, format, gsm8k, math, puzzles
from axolotl_grpo_plugin.runlog.reader import readable
from axolotl_grpo_plugin.runlog.schema import logged_text

OURS = "axolotl_grpo_plugin.rewards"
THOUGHT = r"Maybe 8*9 = \boxed{71}? No: 8*9 = 72."
ANSWER = r"The answer is \boxed{72}."

# What stands before the thinking, between thinking and answer, and after the answer.
FORMS = [
    ("<think>\n", "\n</think>\n\n", ""),
    ("", "\n</think>\n\n", ""),  # opened by the prompt
    ("<reasoning>\n", "\n</reasoning>\n", ""),
    ("<thinking>", "</thinking>", ""),
    ("<thought>\n", "\n</thought>\n", ""),
    ("[THINK]", "[/THINK]", ""),
    ("<seed:think>", "</seed:think>", ""),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("◁think▷", "◁/think▷", ""),
    ("<|inner_prefix|>", "<|inner_suffix|>", ""),
    ("Here is my thought process:\n", "\nHere is my response:\n", ""),
    ("<|channel>thought\n", "<channel|>", ""),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>", "<|return|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|channel|>final <|constrain|>json<|message|>", "<|return|>"),
    ("analysis", "assistantfinal", ""),  # gpt-oss without its special tokens
]
OPENINGS = [opening for opening, _, _ in FORMS if opening not in ("", "<reasoning>\n")]


@pytest.mark.parametrize("opening, closing, end", FORMS)
def test_answer_after_thinking(opening, closing, end):
    text = f"{opening}{THOUGHT}{closing}{ANSWER}{end}"
    assert thinking.after_thinking(text).strip() == ANSWER
    assert (
        thinking.thinking_of(text).strip().removeprefix("analysis").removesuffix("<|end|>").strip().startswith(THOUGHT)
    )
    assert not thinking.is_open(text)
    assert math.accuracy_reward_func.score(text, solution="72").value == 1
    assert puzzles.exact_reward_func.score(text, solution="72").value == 1


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize(
    "draft", [r"Maybe \boxed{72}? Let me check whether", "<answer>72</answer> or", "#### 72\nno,", "Answer: 72"]
)
def test_draft_in_unfinished_thinking_is_no_answer(opening, draft):
    text = opening + draft
    assert thinking.is_open(text)
    for function in (math.accuracy_reward_func, puzzles.exact_reward_func):
        assert function.score(text, solution="72")[:2] == (0, "truncated")
    assert gsm8k.correctness_reward_func.score(text, answer="72").value == 0


@pytest.mark.parametrize(
    "text", ["analysis shows that 72", "Analysis: 72", "analysis: 72", "The mark <think> is \\boxed{72}", "[THINKING]"]
)
def test_text_that_only_mentions_thinking_is_not_open(text):
    assert not thinking.is_open(text)
    assert thinking.after_thinking(text) == text


DRAFTS = {
    "math.accuracy_reward_func": (r"Try x = 8: that gives \boxed{72}. Hmm,", {"solution": "72"}),
    "puzzles.exact_reward_func": ("<answer>72</answer> Hmm,", {"solution": "72"}),
    "puzzles.grid_reward_func": (
        '<answer>{"header": ["a"], "rows": [["1"]]}</answer>',
        {"solution": '{"header": ["a"], "rows": [["1"]]}'},
    ),
    "gsm8k.correctness_reward_func": ("<reasoning>x</reasoning><answer>72</answer>", {"answer": "72"}),
    "gsm8k.int_reward_func": ("<answer>72</answer>", {}),
    "countdown.equation_reward_func": ("<answer>8 * 9</answer>", {"nums": [8, 9], "target": 72}),
    "code.code_reward_func": (
        "```python\nprint(input())\n```\nHmm, that fails when",
        {"tests": '{"inputs": ["1\\n"], "outputs": ["1\\n"]}'},
    ),
    "format.hash_correctness_reward_func": ("#### 72", {"answer": "72"}),
    "gym.gym_reward_func": (
        "<answer>5</answer>",
        {"entry": {"question": "2 + 3 = ?", "answer": "5", "metadata": {"source_dataset": "chain_sum"}}},
    ),
}


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("mark", ["<think>", "[THINK]", "<seed:think>"])
def test_completion_that_never_closes_the_prompts_thinking_earns_nothing(name, mark):
    text, columns = DRAFTS[name]
    function = load_reward(RewardRef(f"{OURS}.{name}"))
    found = function.score(text, prompt_opens=mark, **columns)
    assert (found.value, found.reason) == (0, "truncated")
    quick = function.quick(text, prompt_opens=mark, **columns)
    assert quick is None or quick.value == 0


def test_dispatch_and_other_combined_rewards_pass_the_mark_on():
    routed = load_reward(RewardRef(f"{OURS}.dispatch.dispatch"))
    row = {"data_source": "math_dapo", "ground_truth": "72"}
    text = r"So \boxed{72}."
    assert routed.score(text, **row).value == 1
    assert routed.score(text, prompt_opens="<think>", **row)[:2] == (0, "truncated")
    assert routed.score(f"x</think>{text}", prompt_opens="<think>", **row).value == 1


@pytest.mark.parametrize("mark, closing", [("\n<think>\n", "</think>"), ("[THINK]", "[/THINK]")])
def test_prompt_that_is_text_is_looked_at(mark, closing):
    prompts = [f"2 * 36?{mark}"]
    assert math.accuracy_reward_func(prompts, [r"\boxed{72} or"], solution=["72"]) == [0]
    assert math.accuracy_reward_func(prompts, [rf"a{closing}\boxed{{72}}"], solution=["72"]) == [1]
    assert math.accuracy_reward_func(["2 * 36?"], [r"\boxed{72} or"], solution=["72"]) == [1]


def test_layout_reward_knows_that_the_prompt_has_the_opening_tag():
    text = "2+2\n</think>\n<answer>\n4\n</answer>"
    rewards = (
        format.think_strict_format_reward_func,
        format.think_soft_format_reward_func,
        format.tag_count_reward_func,
    )
    for function in rewards:
        assert function.score(text, prompt_opens="<think>").value == 1
        assert function.score(text).value < 1
        assert function.score("garbage", prompt_opens="<think>").value == 0


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thinking_that_trl_has_moved_is_read(key):
    message = {"role": "assistant", key: "2+2=4", "content": "<answer>4</answer>"}
    text = "<think>\n2+2=4\n</think>\n<answer>4</answer>"
    assert text_of([message]) == text == logged_text([message])
    assert format.tag_count_reward_func.score([message]).value == 1
    assert format.think_soft_format_reward_func.score([message], prompt_opens="<think>").value == 1
    assert "2+2=4" in readable([message], 99)


def test_thinking_without_an_answer_was_cut_off():
    message = {"role": "assistant", "reasoning_content": r"Maybe \boxed{72}", "content": ""}
    assert math.accuracy_reward_func.score([message], solution="72")[:2] == (0, "truncated")
    called = {**message, "tool_calls": [{"function": {"name": "add"}}]}
    answer = {"role": "assistant", "content": r"\boxed{72}"}
    assert math.accuracy_reward_func.score([called, answer], solution="72").value == 1


@pytest.mark.parametrize(
    "prompt, mark, is_empty",
    [
        ("<|im_start|>assistant\n<think>\n", "<think>", False),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "", True),
        ("<seed:think>", "<seed:think>", False),
        ("Think in <think> marks.", "", False),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>", False),
        ("<think>2+2</think>", "", False),
    ],
)
def test_end_of_a_prompt(prompt, mark, is_empty):
    assert thinking.opened_by(prompt) == mark
    assert thinking.ends_in_empty_thinking(prompt) is is_empty


def test_time_is_linear_in_the_text():
    for piece in ("<think>", "</think>", "<|channel|>final", "assistantfinal", "analysis", "<|end|>", "[THINK]"):
        text = piece * (1_000_000 // len(piece))
        began = time.process_time()
        thinking.after_thinking(text)
        thinking.thinking_of(text)
        thinking.is_open(text)
        assert time.process_time() - began < 4, piece


def test_code_reads_no_program_of_open_thinking():
    assert code.read_code("<think>\n```python\n1\n```").problem == "truncated"
    assert countdown.equation_reward_func.score("<think><answer>8*9</answer>", nums=[8, 9], target=72).value == 0
    assert find_answer("<think>a</think>b", ["box"]).problem == "no_answer"

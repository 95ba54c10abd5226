"""The scores of the Countdown reward: tables of answers, and properties of all answers."""

import pytest

from axolotl_grpo_plugin.rewards.countdown import LONGEST_ANSWER, equation_reward_func, read_problem
from axolotl_grpo_plugin.transforms.countdown import countdown
from tests.rewards.helpers import tagged
from tools.countdown_problems import QUICKSTART, STANDARD, splits

ONE = [1, 4, 19, 42]  # 42 + 19 + 4 - 1 = 64
TWO = [3, 3, 8, 8]


def judge(completion, nums=ONE, target=64):
    return equation_reward_func.score(completion, nums=nums, target=target)


# answer, nums, target, reason
CONTRACT = [
    ("42 + 19 + 4 - 1", ONE, 64, "correct"),
    ("(42+19)+(4-1)", ONE, 64, "correct"),
    ("42 + 19 + 4 - 1 = 64", ONE, 64, "correct"),
    ("  42+19 +4-1=64 ", ONE, 64, "correct"),
    ("8/(3-8/3)", TWO, 24, "correct"),  # inexact with floats
    ("8 ÷ (3 − 8 ÷ 3)", TWO, 24, "correct"),
    (r"8 \div (3 - 8 \div 3)", TWO, 24, "correct"),
    ("3 × 8 × (8 − 3)", TWO, 120, "correct"),
    (r"\frac{8}{3-\frac{8}{3}}", TWO, 24, "correct"),
    (r"\dfrac{8}{\left(3 - 8/3\right)} = 24", TWO, 24, "correct"),
    (r"\frac{8}{3}-\frac{3}{8}", TWO, 24, "wrong_value"),
    (r"\frac{8}{}3-8/3", TWO, 24, "not_an_expression"),
    (r"3\times8\times(8-3)", TWO, 120, "correct"),
    (r"3 \cdot 8", [3, 8], 24, "correct"),
    ("11 – 3", [11, 3], 8, "correct"),
    ("$8/(3-8/3)$", TWO, 24, "correct"),
    (r"\boxed{8/(3-8/3)}", TWO, 24, "correct"),
    ("**3*8**", [3, 8], 24, "correct"),
    ("3 - 8", [3, 8], -5, "correct"),
    ("3 - 8 = -5", [3, 8], -5, "correct"),
    ("0 * 5", [5, 0], 0, "correct"),
    ("64", [64], 64, "correct"),
    # Wrong answers
    ("42 + 19 - 4 - 1", ONE, 64, "wrong_value"),
    ("42 + 19 + 4 - 1 = 65", ONE, 64, "wrong_value"),
    ("42 + 19 - 4 - 1 = 64", ONE, 64, "wrong_value"),
    ("42 / (4 - 4)", [4, 4, 42], 64, "wrong_value"),
    ("8/(3-8/3) = 23", TWO, 24, "wrong_value"),
    ("42 + 19 + 4", ONE, 64, "wrong_numbers"),
    ("64", ONE, 64, "wrong_numbers"),
    ("64 = 42 + 19 + 4 - 1", ONE, 64, "not_an_expression"),
    # Exploits of the original rewards
    ("42+42-19-1", ONE, 64, "wrong_numbers"),
    ("64 #1 4 42", [1, 4, 42, 64], 64, "not_an_expression"),
    ("64 #1 4 19 42", ONE, 64, "not_an_expression"),
    ("9**9**9", [9, 9, 9], 64, "not_an_expression"),
    ("9×*9", [9, 9], 9**9, "not_an_expression"),
    (r"9\times\times9", [9, 9], 9**9, "not_an_expression"),
    ("9÷/2", [9, 2], 4, "not_an_expression"),
    ("9//2", [9, 2], 4, "not_an_expression"),
    ("9 % 2", [9, 2], 1, "not_an_expression"),
    ("__import__('os').system('touch /tmp/x')", ONE, 64, "not_an_expression"),
    ("1 or 4 or 19 or 42", ONE, 1, "not_an_expression"),
    ("64 if 1 else 4", ONE, 64, "not_an_expression"),
    ("(x := 64)", [64], 64, "not_an_expression"),
    ("64 == 64", [64], 64, "not_an_expression"),
    ("64 = 64 = 64", [64], 64, "not_an_expression"),
    ("64 > 1", [1, 64], 64, "not_an_expression"),
    ("64 =", [64], 64, "not_an_expression"),
    ("= 64", [64], 64, "not_an_expression"),
    ("64 = 32 * 2", [64], 64, "not_an_expression"),
    ("64 = 64.0", [64], 64, "not_an_expression"),
    ("(64, 1)", [64, 1], 64, "not_an_expression"),
    ("[64]", [64], 64, "not_an_expression"),
    ("'64'", [64], 64, "not_an_expression"),
    ("64j", [64], 64, "not_an_expression"),
    ("64.0", [64], 64, "not_an_expression"),
    ("6_4", [64], 64, "not_an_expression"),
    ("064", [64], 64, "wrong_numbers"),
    ("00 + 64", [0, 64], 64, "wrong_numbers"),
    ("0x40", [64], 64, "not_an_expression"),
    ("6e1", [6, 1], 60, "not_an_expression"),
    ("6 4", [6, 4], 64, "not_an_expression"),
    ("6(4)", [6, 4], 24, "not_an_expression"),
    ("(6)(4)", [6, 4], 24, "not_an_expression"),
    ("-4 + 68", [4, 68], 64, "not_an_expression"),
    ("68 + -4", [4, 68], 64, "not_an_expression"),
    ("+64", [64], 64, "not_an_expression"),
    ("64 + ()", [64], 64, "not_an_expression"),
    ("(64", [64], 64, "not_an_expression"),
    ("64\n+ 0", [64, 0], 64, "not_an_expression"),
    ("64\n0", [64, 0], 64, "not_an_expression"),
    ("64 \\\n + 0", [64, 0], 64, "not_an_expression"),
    ("6\x004", [64], 64, "not_an_expression"),
    ("٦٤", [64], 64, "not_an_expression"),
    ("64 or 42 + 19 + 4 - 1", ONE, 64, "not_an_expression"),
    ("42 + 19 + 4 - 1 (I think)", ONE, 64, "not_an_expression"),
    ("(" * 60 + "64" + ")" * 60, [64], 64, "correct"),
    ("(" * 60 + "64" + ")" * 61, [64], 64, "not_an_expression"),
    ("(" * 200 + "64" + ")" * 200, [64], 64, "too_long"),
    ("64" + " " * LONGEST_ANSWER + "+ 0", [64, 0], 64, "too_long"),
    ("", ONE, 64, "empty_answer"),
    ("...", ONE, 64, "empty_answer"),
]


@pytest.mark.parametrize(("answer", "nums", "target", "reason"), CONTRACT)
def test_contract(answer, nums, target, reason):
    assert judge(tagged(answer), nums, target)[:2] == (float(reason == "correct"), reason)


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        ("42 + 19 + 4 - 1", 0.0, "no_answer_tag"),
        ("<answer>42 + 19 + 4 - 1", 0.0, "truncated"),
        ("<answer>1</answer><answer>42 + 19 + 4 - 1</answer>", 1.0, "correct"),
        ("<answer>42 + 19 + 4 - 1</answer><answer>1</answer>", 0.0, "wrong_numbers"),
        ([{"role": "assistant", "content": "<answer>42+19+4-1</answer>"}], 1.0, "correct"),
        ("", 0.0, "no_answer_tag"),
    ],
)
def test_finds_answer_in_completion(completion, value, reason):
    assert judge(completion)[:2] == (value, reason)


@pytest.mark.parametrize(
    ("nums", "target", "problem"),
    [
        ([3, 5], 8, ([3, 5], 8)),
        (["3", "5"], "8", ([3, 5], 8)),
        ("[3, 5]", "-8", ([3, 5], -8)),
        ("3 5", 8, None),
        ("[" * 100_000, 8, None),
        ([], 8, None),
        ([3, -5], 8, None),
        ([3, 5.0], 8, None),
        ([3, True], 8, None),
        ([3, None], 8, None),
        (8, 8, None),
        ([3, 5], "eight", None),
        ([3, 5], 8.0, None),
        ([3, 5], "9" * 5000, None),
    ],
)
def test_read_problem(nums, target, problem):
    assert read_problem(nums, target) == problem
    reason = judge(tagged("3 + 5"), nums, target).reason
    assert (reason == "bad_gold") == (problem is None)


PROBLEMS = [problem for kind in (QUICKSTART, STANDARD) for problem in splits(kind, 1, 150, 50)[0]]


def test_solution_of_generated_problem_is_right():
    for problem in PROBLEMS:
        score = judge(tagged(problem.solution), list(problem.nums), problem.target)
        assert score[:2] == (1.0, "correct"), problem


def test_echoing_the_prompt_scores_nothing():
    transform, _ = countdown({})
    rows = [problem.row for problem in PROBLEMS]
    made = transform({name: [row[name] for row in rows] for name in rows[0]}, list(range(len(rows))), None)
    echoes = [turns[0]["content"] for turns in made["prompt"]]
    scores = equation_reward_func(made["prompt"], echoes, nums=made["nums"], target=made["target"])
    assert set(scores) == {0.0}

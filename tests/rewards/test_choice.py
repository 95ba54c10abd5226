"""Multiple choice: the forms of an answer in MMLU, ARC, GPQA and AMC, and the answers that name no option."""

import json
import time

import pytest

from axolotl_grpo_plugin.rewards.choice import choice_reward_func, read_choice
from axolotl_grpo_plugin.rewards.puzzles import exact_reward_func

CITIES = ["Rome", "Berlin", "Madrid", "Paris"]
NUMBERS = ["12", "13.5", "15", r"\frac{1}{2}", "0"]

OF_D = [
    *["D", "d", "(D)", "[D]", "D.", "D)", "D:", "**D**", "`D`", "$D$", r"\text{D}", r"\textbf{(D)}", r"\mathrm{D}"],
    *[
        "Option D",
        "option (D)",
        "Choice D",
        "Answer: D",
        "The answer is D",
        "The correct answer is (D).",
        "The best option is D",
    ],
    *[
        "D. Paris",
        "D) Paris",
        "(D) Paris",
        "D: Paris",
        "D - Paris",
        r"\textbf{(D)}\ Paris",
        "**D) Paris**",
        "Option D: Paris",
    ],
]
OF_TEXT = ["Paris", "paris.", "**Paris**", r"\text{Paris}", "The answer is Paris"]
NO_OPTION = [
    *["A or D", "D or A", "not D", "D, not A", "D?", "None of the above", "Don't know", "Neither A nor D", "either D"],
    *["E", "7", "DA DA", "Definitely", "the last one", "D is wrong, so A", "maybe D", "D/A"],
]


def scored(completion, **row):
    return choice_reward_func.score(completion, **row)


@pytest.mark.parametrize("text", OF_D)
@pytest.mark.parametrize("options", [None, CITIES, json.dumps(CITIES), dict(zip("ABCD", CITIES, strict=True))])
def test_letter_in_many_forms(text, options):
    assert scored(f"<answer>{text}</answer>", solution="D", options=options)[:2] == (1, "correct")
    assert scored(f"<answer>{text}</answer>", solution="A", options=options)[:2] == (0, "wrong_value")


@pytest.mark.parametrize("text", OF_TEXT)
def test_text_of_an_option_needs_the_options(text):
    assert scored(f"<answer>{text}</answer>", solution="D", options=CITIES).value == 1
    assert scored(f"<answer>{text}</answer>", solution="Paris", options=CITIES).value == 1
    assert scored(f"<answer>{text}</answer>", solution="D").value == 0


@pytest.mark.parametrize("text", NO_OPTION)
@pytest.mark.parametrize("options", [None, CITIES])
@pytest.mark.parametrize("gold", ["A", "D"])
def test_text_that_names_no_option(text, options, gold):
    score = scored(f"<answer>{text}</answer>", solution=gold, options=options)
    assert score.value == 0 and score.reason in ("unreadable", "contradiction", "wrong_value")


@pytest.mark.parametrize("text", ["D. Rome", "(D) Madrid", "A: Paris", r"\textbf{(B)}\ Paris"])
def test_letter_with_the_text_of_another_option_is_a_contradiction(text):
    for gold in "ABCD":
        assert scored(f"<answer>{text}</answer>", solution=gold, options=CITIES)[:2] == (0, "contradiction")


@pytest.mark.parametrize(
    "text, gold, value",
    [
        (r"\textbf{(C)}\ 15", "C", 1),
        (r"\textbf{(C) }15", "C", 1),
        ("15", "C", 1),
        ("(D) \\frac{1}{2}", "D", 1),
        (r"\textbf{(C)}\ 12", "C", 0),
        ("16", "C", 0),
        ("0", "E", 1),
    ],
)
def test_letter_with_a_value_as_in_amc(text, gold, value):
    assert scored(rf"So \boxed{{{text}}}", solution=gold, options=NUMBERS).value == value


@pytest.mark.parametrize("gold", ["A, C", "AC", ["A", "C"], "C and A", ["Rome", "Madrid"]])
@pytest.mark.parametrize(
    "text, value",
    [
        *[("A, C", 1), ("C, A", 1), ("A and C", 1), ("AC", 1), ("(A), (C)", 1), ("Both A and C", 1), ("A; C", 1)],
        *[("A", 0), ("A, C, D", 0), ("A, B", 0), ("A or C", 0), ("CA", 0)],
    ],
)
def test_several_letters(gold, text, value):
    assert scored(f"<answer>{text}</answer>", solution=gold, options=CITIES).value == value


@pytest.mark.parametrize(
    "completion, value, reason",
    [
        ("I think B first.\n\nAnswer: D", 1, "correct"),
        ("**Answer:** (D) Paris", 1, "correct"),
        (r"It is \boxed{D}.", 1, "correct"),
        ("#### D", 1, "correct"),
        (r"\boxed{A} \boxed{D}", 0, "several_answers"),
        ("\\boxed{A}\nAnswer: D", 0, "several_answers"),
        ("\\boxed{(D)}\nAnswer: D", 1, "correct"),
        ("\\boxed{x^2}\nAnswer: D", 1, "correct"),
        ("Answer: $LETTER", 0, "no_answer"),
        ("D", 0, "no_answer"),
        ("<think>Answer: D", 0, "truncated"),
        ("<answer></answer>", 0, "empty_answer"),
    ],
)
def test_place_of_the_answer(completion, value, reason):
    assert scored(completion, solution="D", options=CITIES)[:2] == (value, reason)


@pytest.mark.parametrize(
    "gold, options", [("", CITIES), ("F", CITIES), ("London", CITIES), ("London", None), (7, CITIES)]
)
def test_gold_that_names_no_option_scores_none(gold, options):
    assert scored("<answer>A</answer>", solution=gold, options=options)[:2] == (None, "bad_gold")


def test_two_options_of_one_text_cannot_be_told_apart():
    assert read_choice("x", ["x", "x", "y"]).problem == "unreadable"
    assert read_choice("B", ["x", "x", "y"]).letters == "B"


@pytest.mark.parametrize("text", ["D. Paris", "Answer: D", r"\textbf{(D)}", "(D)", "[D]", "D) Paris", "option D"])
@pytest.mark.parametrize("gold", ["D", "(D)"])
def test_exact_reads_the_letter_of_an_option(text, gold):
    assert exact_reward_func.score(f"<answer>{text}</answer>", solution=gold).value == 1
    assert exact_reward_func.score(f"<answer>{text}</answer>", solution="A").value == 0
    assert exact_reward_func.score("<answer>A or D</answer>", solution=gold).value == 0


def test_time_is_linear_in_the_answer():
    for piece in ("A, ", "the ", "(A) ", r"\text{", "answer is ", "**"):
        began = time.process_time()
        read_choice(piece * (2000 // len(piece)), CITIES)
        assert time.process_time() - began < 0.5, piece

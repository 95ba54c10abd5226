import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.rewards.math import accuracy_reward_func, exact, normal

score = accuracy_reward_func.score


def box(answer):
    return rf"So the answer is $\boxed{{{answer}}}$."


# completion, gold, score, reason
WHERE_THE_ANSWER_IS = [
    ("<think>maybe 71</think><answer>72</answer>", "72", 1.0, "correct"),
    ("<think>\\boxed{71}</think> \\boxed{72}", "72", 1.0, "correct"),
    ("<reasoning>\nx\n</reasoning>\n<answer>\n18\n</answer>", "18", 1.0, "correct"),
    ("<answer>The answer is \\boxed{18}</answer>", "18", 1.0, "correct"),
    ("<answer>18</answer> or 19 or 20", "18", 1.0, "correct"),
    ("work\n#### 1,000", "1000", 1.0, "correct"),
    ("#### 18\nbut #### 17", "18", 0.0, "several_answers"),
    (r"\boxed{18} ... \boxed{17}", "18", 0.0, "several_answers"),
    (r"\boxed{17} \boxed{18}", "18", 0.0, "several_answers"),
    (r"\boxed{18}, that is \boxed{18.0}", "18", 1.0, "correct"),
    ("The answer is 18", "18", 0.0, "no_answer"),
    ("**18**", "18", 0.0, "no_answer"),
    ("18", "18", 0.0, "no_answer"),
    ("", "18", 0.0, "no_answer"),
    ("<answer>18", "18", 0.0, "truncated"),
    (r"so \boxed{18", "18", 0.0, "truncated"),
    ("<answer></answer>", "18", 0.0, "empty_answer"),
    (r"\boxed{}", "18", 0.0, "empty_answer"),
    (r"\boxed{" + "1+" * 300 + "1}", "301", 0.0, "too_long"),
]

# answer in a box, gold, score, reason
ANSWERS = [
    ("18", "18", 1.0, "correct"),
    ("17", "18", 0.0, "wrong_value"),
    ("−5", "-5", 1.0, "correct"),
    ("1,234", "1234", 1.0, "correct"),
    ("1{,}234", "1234", 1.0, "correct"),
    ("840,840", "840840", 1.0, "correct"),
    (r"\$18.00", "18", 1.0, "correct"),
    ("**73**", "73", 1.0, "correct"),
    ("18 dollars", "18", 1.0, "correct"),
    (r"18\text{ dollars}", "18", 1.0, "correct"),
    (r"12 \text{ apples}", "12", 1.0, "correct"),
    (r"\text{13}", "13", 1.0, "correct"),
    (r"90^\circ", "90", 1.0, "correct"),
    (r"50\%", "50", 1.0, "correct"),
    ("x = 5", "5", 1.0, "correct"),
    ("+018", "18", 1.0, "correct"),
    # exact numbers, right and wrong
    (r"\frac{3}{4}", "0.75", 1.0, "correct"),
    (r"\dfrac34", r"\frac{3}{4}", 1.0, "correct"),
    ("3/4", r"\frac{3}{4}", 1.0, "correct"),
    ("36/2", "18", 1.0, "correct"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}", 1.0, "correct"),
    (r"\frac{3}{5}", r"\frac{3}{4}", 0.0, "wrong_value"),
    (r"\frac{1}{0}", "1", 0.0, None),
    (r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", 0.0, "wrong_value"),
    ("0.333", r"\frac{1}{3}", 0.0, "wrong_value"),
    # hedges
    ("17 or 18", "18", 0.0, "several_answers"),
    (r"17\text{ or }18", "18", 0.0, "several_answers"),
    ("17, 18", "18", 0.0, "several_answers"),
    ("x=1 or x=2", "1", 0.0, "several_answers"),
    (r"18 \text{ and } 19", "18", 0.0, "several_answers"),
    ("9 * 2 = 18", "18", 0.0, "equation"),
    # lists, tuples, sets, intervals
    ("1, 2", "1,2", 1.0, "correct"),
    ("2, 1", "1,2", 1.0, "correct"),
    ("1, 3", "1,2", 0.0, "wrong_value"),
    ("(1, 2)", "(1,2)", 1.0, "correct"),
    ("(2, 1)", "(1,2)", 0.0, "wrong_value"),
    (r"\left(1, \frac{1}{2}\right)", "(1,0.5)", 1.0, "correct"),
    ("[0, 1)", "[0,1)", 1.0, "correct"),
    (r"\{1,2\}", r"\{2,1\}", 1.0, "correct"),
    # text
    (r"\text{Evelyn}", "Evelyn", 1.0, "correct"),
    ("evelyn", r"\text{Evelyn}", 1.0, "correct"),
    ("ba", "ab", 0.0, "wrong_value"),
    (r"\text{(C)}", "(C)", 1.0, "correct"),
    # what only math-verify can tell
    (r"2\sqrt{3}", r"\sqrt{12}", 1.0, "correct"),
    (r"\sqrt{13}", r"\sqrt{12}", 0.0, "wrong_value"),
    (r"x^2+2x+1", r"(x+1)^2", 1.0, "correct"),
    (r"\frac{\pi}{2}", r"0.5\pi", 1.0, "correct"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", 1.0, "correct"),
    # what makes it hang, or eat memory
    ("5^{5^{5^{5^5}}}", "18", 0.0, "too_large"),
    ("9^{9^{9}}", "18", 0.0, "too_large"),
    ("2^{99999999}", "18", 0.0, "too_large"),
    ("99999!", "18", 0.0, "too_large"),
    ("((((((" * 40, "18", 0.0, None),
]


@pytest.mark.parametrize("completion, gold, value, reason", WHERE_THE_ANSWER_IS)
def test_where_the_answer_is(completion, gold, value, reason):
    assert score(completion, solution=gold) == (value, reason)


@pytest.mark.parametrize("answer, gold, value, reason", ANSWERS)
def test_what_equals_the_gold(answer, gold, value, reason):
    scored = score(box(answer), solution=gold)
    assert scored.value == value
    assert reason in (None, scored.reason)


@pytest.mark.parametrize(
    "solution, value",
    [
        (r"Since $1+1=2$, we get \boxed{2}.", 1.0),
        (r"\boxed{1}, no: \boxed{2}", 1.0),
        ("1 + 1 = <<1+1=2>>2\n#### 2", 1.0),
        ("2", 1.0),
        (2, 1.0),
        ("", None),
        (r"\boxed{}", None),
        ("long prose " * 50, None),
        (None, None),
    ],
)
def test_gold(solution, value):
    """A worked solution or a bare answer; one that can't be read is never paid."""
    assert score(box("2"), solution=solution).value == value


def test_trl_calls_it():
    chat = [{"role": "assistant", "content": box("2")}]
    assert accuracy_reward_func(["", ""], [box("3"), chat], solution=["3", "2"]) == [1.0, 1.0]


@pytest.mark.parametrize(
    "piece",
    ["{", "}", r"\boxed{", r"\boxed{}", "####", "<answer>", "</answer>", "1,", "^{", "=", " "],
)
def test_time_grows_with_the_length_and_not_faster(piece):
    def seconds(count):
        text = piece * count
        began = time.perf_counter()
        accuracy_reward_func.quick(text, solution="18")
        return time.perf_counter() - began

    seconds(100)
    small = min(seconds(20_000 // len(piece)) for _ in range(3))
    large = min(seconds(400_000 // len(piece)) for _ in range(3))
    assert large < 100 * small + 0.05  # 20 times the text; quadratic would be 400


def test_boxes():
    assert read_boxes(r"\boxed{a{b}c} \fbox{d} \boxed {e}") == ["a{b}c", "d", "e"]
    assert read_boxes(r"\boxed{a \boxed{b}} \boxed{c \boxed{d}") == [r"a \boxed{b}", "d"]
    assert read_boxes(r"} \boxed{\{1\}} \boxed{") == [r"\{1\}"]


LATEX = st.lists(
    st.sampled_from(
        r"\boxed{ } { \frac \sqrt ^ _ 1 2 18 0 , . - + = / ( ) [ ] x or \text \% <answer> </answer> </think> #### $ !".split(
            " "
        )
    ),
    max_size=25,
).map(" ".join)


@given(LATEX, st.sampled_from(["18", r"\frac{1}{2}", "(1,2)", "x+1", "1,2"]))
def test_the_quick_part_never_raises_and_says_declared_reasons(text, gold):
    for completion in (text, box(text), f"<answer>{text}</answer>"):
        scored = accuracy_reward_func.quick(completion, solution=gold)
        if scored is not None:
            assert scored.reason in accuracy_reward_func.reasons
            assert scored.value in (None, 0.0, 1.0)


@given(st.text(), st.text())
def test_any_text_can_be_read(text, gold):
    accuracy_reward_func.quick(box(text), solution=gold)


@given(st.text(alphabet="abc 0123456789", max_size=30))
def test_text_after_the_answer_pays_nothing(text):
    assert score("<answer>17</answer>" + text, solution="18").value == 0.0


@given(st.permutations(["18", "17", "", r"\frac{36}{2}", "17 or 18"]))
def test_a_permuted_batch_is_scored_permuted(answers):
    expected = [{"18": 1.0, r"\frac{36}{2}": 1.0}.get(answer, 0.0) for answer in answers]
    boxed = [box(answer) for answer in answers]
    assert accuracy_reward_func([""] * 5, boxed, solution=["18"] * 5) == expected


@given(st.fractions(max_denominator=10**6))
def test_a_number_is_read_exactly(value):
    square = (False, value * abs(value))
    assert exact(f"{value.numerator}/{value.denominator}") == square
    assert exact(normal(rf"\dfrac{{{value.numerator}}}{{{value.denominator}}}")) == square


@pytest.mark.parametrize(
    "one, other, same",
    [
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"-2\sqrt{3}", r"\sqrt{12}", False),
        (r"2\sqrt3", r"2\cdot\sqrt{3}", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        (r"\sqrt{4}", "2", True),
        (r"\frac{\pi}{2}", r"0.5\pi", True),
        (r"\pi", r"-\pi", False),
        (r"\pi/2", r"\frac{\pi}{2}", True),
        (r"3\pi", "3", False),
        (r"\frac{3\pi}{4}", r"0.75\pi", True),
    ],
)
def test_roots_and_pi_are_compared_exactly(one, other, same):
    assert None not in (exact(one), exact(other))
    assert (exact(one) == exact(other)) is same


@pytest.mark.parametrize(
    "text", [r"\pi^2", r"\sqrt{x}", r"2\pi r", "x", r"\sqrt{2}\sqrt{3}", "1+1", ""]
)
def test_what_is_not_known_exactly_is_left(text):
    assert exact(text) is None


@pytest.mark.parametrize(
    "answer, gold, value",
    [
        ("(1, 2)", "(1,2)", 1.0),
        (r"(\frac{1}{2}, 2)", "(0.5,2)", 1.0),
        ("(2, 1)", "(1,2)", 0.0),
        ("(1,2,3)", "(1,2)", 0.0),
        ("2,1", "1,2", 1.0),
    ],
)
def test_tuples_of_numbers_are_decided_at_once(answer, gold, value):
    assert accuracy_reward_func.quick(box(answer), solution=gold).value == value

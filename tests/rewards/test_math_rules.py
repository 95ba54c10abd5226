"""Rules of the math reward, each with rows: fair forms that must be paid, and hacks that must not."""

import json
import time
from pathlib import Path

import pytest

from axolotl_grpo_plugin.rewards.math import accuracy_reward_func, gold_problem

score = accuracy_reward_func.score


def box(answer):
    return rf"So the answer is $\boxed{{{answer}}}$."


# A gold answer pays its own text, whatever it is.
GOLDS = [
    "100!",
    r"\frac{100!}{2^{50}}",
    "x^{2^{2}}",
    "9^{9^{9}}",
    "5^{5^{5^{5^5}}}",
    "2^{99999999}",
    r"\{1,2,3\}",
    r"[1,2)\cup(3,\infty)",
    r"(-\infty,\infty)",
    r"1\le x\le2",
    "x<-1 \\text{ or } x>3",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    r"\begin{bmatrix} x & 0 \\ 0 & \frac{1}{x} \end{bmatrix}",
    r"18\text{ cm}^2",
    r"5\,\mathrm{m/s}",
    r"50\%",
    r"12.5\%",
    r"\text{no solution}",
    r"\emptyset",
    r"\text{Evelyn}",
    r"\text{October 30}",
    r"\text{The midpoints form a regular hexagon}",
    r"\frac12\ln3",
    r"\log_2 3",
    r"2\cdot2^n",
    r"\frac{n(n+1)}{2}",
    r"\binom{n}{2}",
    "p=5,q=2;p=7,q=2",
    "(5,2),(7,2)",
    "1101_2",
    "3:5",
    "9:24",
    r"9\text{ a.m.}",
    r"2\pm\sqrt3",
    r"\pm1\pm i",
    "y=2x+1",
    "x^2+y^2=25",
    r"\lfloor\frac{n}{2}\rfloor",
    r"e^{i\pi/3}",
    r"\int_0^1 f(x)\,dx",
    r"\sum_{k=1}^n k^2",
    r"|x-1|",
    r"2\sin x\cos x",
    "-5/2 x - 29/4",
    r"\$1,234.50",
    r"0.\overline{3}",
    r"1\frac12",
    "f(4-x)",
    r"\text{(C)}",
    r"\frac{1}{0}",
]

# gold, answer
FAIR = [
    # closed forms
    (r"2\cdot2^n", "2^{n+1}"),
    ("2^{n+1}", r"2\cdot2^n"),
    ("2^{n+1}", r"2 \times 2^{n}"),
    ("16^n", "2^{4n}"),
    (r"\log_2 3", r"\frac{\ln3}{\ln2}"),
    (r"\frac{\ln 3}{\ln 2}", r"\log_2(3)"),
    (r"\frac12\ln3", r"\ln\sqrt3"),
    (r"\ln\sqrt3", r"\frac{\ln 3}{2}"),
    (r"\ln x^2", r"2\ln x"),
    (r"\ln\frac{x}{y}", r"\ln x-\ln y"),
    (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt{6}}"),
    (r"\frac{\sqrt2}{2}", r"\frac{1}{\sqrt2}"),
    (r"3\sqrt2", r"\sqrt{18}"),
    (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"),
    (r"\frac{n(n-1)(n-2)!}{1}", "n!"),
    ("x+1", r"\frac{x^2-1}{x-1}"),
    (r"\frac{1}{x}+\frac{1}{y}", r"\frac{x+y}{xy}"),
    (r"\cos^2 x", r"1-\sin^2 x"),
    (r"\sin 2x", r"2\sin x\cos x"),
    (r"x^{\frac13}", r"\sqrt[3]{x}"),
    ("a^2-b^2", "(a-b)(a+b)"),
    ("e^{2x}", "(e^x)^2"),
    (r"3-2i", "-2i+3"),
    ("408", r"\frac{816}{2}"),
    (r"\frac{1}{3}", r"0.\overline{3}"),
    (r"100!", r"100!"),
    (r"x^4", r"x^4"),
    # sets, intervals and inequalities, in both directions
    ("[1,2]", r"1\le x\le2"),
    (r"1\le x\le2", "[1,2]"),
    ("(3,\\infty)", "x>3"),
    ("x>3", "(3,\\infty)"),
    ("(-\\infty,3]", r"x\le 3"),
    ("(-\\infty,3]", r"3\ge x"),
    ("(1,2)", "1<x<2"),
    ("1<x<2", "(1,2)"),
    ("[0,1)", r"0\le x<1"),
    (r"\{1,2\}", r"x=1\text{ or }x=2"),
    ("x=1, x=2", r"\{2,1\}"),
    (r"x\in\{1,2\}", "1,2"),
    (r"\emptyset", r"\text{no solution}"),
    (r"\text{no solution}", r"\emptyset"),
    (r"\text{No solutions}", r"\varnothing"),
    (r"\emptyset", r"\{\}"),
    (r"\emptyset", r"\text{no real solutions}"),
    (r"\mathbb{R}", r"\text{all real numbers}"),
    (r"(-\infty,\infty)", r"\mathbb{R}"),
    (r"[0,1]\cup[2,3]", r"[2,3] \cup [0,1]"),
    # named values
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
    ("(5,2),(7,2)", "p=5,q=2;p=7,q=2"),
    ("(5,2),(7,2)", r"p=7,q=2\text{ or }p=5,q=2"),
    ("x=3, y=2", "(3,2)"),
    ("(3,2)", "y=2, x=3"),
    ("(1,2,3)", "x=1, y=2, z=3"),
    ("x=1,y=2,z=3", r"\left(1, 2, 3\right)"),
    ("(x,y)=(3,2)", "(3,2)"),
    ("a=4, b=5", "4, 5"),
    # percents
    ("0.5", r"50\%"),
    ("50", r"50\%"),
    (r"50\%", "0.5"),
    (r"50\%", "50"),
    (r"\frac12", r"50\%"),
    ("1", r"100\%"),
    (r"0.5\%", r"0.5\%"),
    (r"0.5\%", "0.005"),
    # forms of writing
    (r"\cos{\theta}", r"\cos\theta"),
    (r"\sin^2\theta", r"(\sin\theta)^2"),
    (r"(-\infty,-3]\cup[3,\infty)", r"x \geq 3 \text{ or } x \le -3"),
    (r"x \geq 3 \text{ or } x \le -3", r"(-\infty,-3]\cup[3,\infty)"),
    (r"(-\infty,3)\cup(3,\infty)", r"x\ne3"),
    (r"x\neq3", r"(-\infty,3)\cup(3,\infty)"),
    ("-2<x<3", "3>x>-2"),
    ("[0,\\pi]", r"0\le\theta\le\pi"),
    ("(-1)^n", "(-1)^{n+2}"),
    ("n!", "n(n-1)!"),
    (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
    (r"\frac{n(n-1)}{2}", r"\binom{n}{2}"),
    ("(x^2+1)^{0.5}", r"\sqrt{x^2+1}"),
    (r"e^{i\pi/3}", r"\frac12+\frac{\sqrt3}{2}i"),
    (r"\frac{\sqrt6}{3}", r"\sqrt{2/3}"),
    ("e^{-x}", r"\exp(-x)"),
    (r"\frac12bh", "bh/2"),
    ("1/2", "1:2"),
    ("1/3", r"x=1/3\approx0.33"),
    (r"\ln 2", r"\ln 2\approx 0.693"),
    (r"\frac{3\pi}{4}", r"\frac34\pi"),
    (r"2\pi r h", r"2\pi hr"),
    (r"\begin{pmatrix}\frac12\\3\end{pmatrix}", r"\begin{bmatrix}0.5\\3\end{bmatrix}"),
    (r"1\pm\sqrt5", r"1+\sqrt5,\ 1-\sqrt5"),
    (r"\frac{-1\pm\sqrt{13}}{4}", r"\frac{-1+\sqrt{13}}{4}, \frac{-1-\sqrt{13}}{4}"),
    ("2x+4y-3=0", r"y=-\frac12x+\frac34"),
]

# gold, answer, reason
HACKS = [
    (r"\frac{1-i}{2}", r"\frac{1}{1+i}", "unevaluated"),
    (r"6+4\sqrt2", r"(2+\sqrt2)^2", "unevaluated"),
    ("408", r"12\times34", "unevaluated"),
    ("408", r"400+8", "unevaluated"),
    ("408", "2(204)", "unevaluated"),
    ("408", r"\frac{12\cdot34}{1}", "unevaluated"),
    ("408", "408+0", "unevaluated"),
    ("408", r"1\cdot408", "unevaluated"),
    ("408", "408^1", "unevaluated"),
    ("408", "408x^0", "unevaluated"),
    ("408", r"\frac{408x}{x}", "unevaluated"),
    ("408", "x-x+408", "unevaluated"),
    ("408", r"\sqrt{408^2}", "unevaluated"),
    ("408", r"\sqrt2\sqrt2\cdot204", "unevaluated"),
    ("408", r"e^{\ln 408}", "unevaluated"),
    ("408", "|-408|", "unevaluated"),
    ("408", r"\lfloor 408.5\rfloor", "unevaluated"),
    ("408", r"\frac{408\pi}{\pi}", "unevaluated"),
    ("408", r"-408i^2", "unevaluated"),
    ("18", r"(9\cdot2)\%", None),
    ("0.18", r"(9\cdot2)\%", None),
    ("3", r"\log_2 8", "unevaluated"),
    ("120", "5!", "unevaluated"),
    ("10", r"\binom{5}{2}", "unevaluated"),
    (r"\frac{\sqrt3}{2}", r"\sin\frac{\pi}{3}", "unevaluated"),
    (r"6\pi", r"2\cdot3\pi", "unevaluated"),
    ("x+4", r"x+\sqrt{16}", "unevaluated"),
    ("x+1", "x+e^0", "unevaluated"),
    ("x+3", r"x+\log_2 8", "unevaluated"),
    ("x-1", "x+i^2", "unevaluated"),
    ("2x", r"x\sqrt4", "unevaluated"),
    ("2^{n+1}", "2^n+2^n", "unevaluated"),
    ("12", "12a^0", "unevaluated"),
    ("18", r"18(\sin^2x+\cos^2x)", "unevaluated"),
    ("(1,2)", "(1+0,2)", None),
    ("(1,2)", "[1,2]", "wrong_value"),
    (r"\ln 2", "0.693147180559945", "wrong_value"),
    ("3:5", "5:3", "wrong_value"),
    ("9:24", "9:25", "wrong_value"),
    (r"6\pi", r"2\pi+4\pi", "unevaluated"),
    (r"5+2i", "2+3+2i", "unevaluated"),
    ("6x", "2x+4x", "unevaluated"),
    ("x+5", "x+2+3", "unevaluated"),
    ("(3,3)", "(1+2,3)", "unevaluated"),
    ("3,5", "1+2,5", "unevaluated"),
    (r"\frac12", r"\frac{1}{6}+\frac{1}{3}", "unevaluated"),
    (r"\frac38", r"\frac12\cdot\frac34", "unevaluated"),
    ("0.5", r"0.5\%", "wrong_value"),
    (r"\frac12", r"0.5\%", "wrong_value"),
    ("0.28", r"0.28\%", "wrong_value"),
    ("[1,2]", "1<x<2", "wrong_value"),
    ("[1,2]", r"1\le x", "wrong_value"),
    ("(3,\\infty)", r"x\ge3", "wrong_value"),
    ("(3,\\infty)", "x<3", "wrong_value"),
    ("(5,2),(7,2)", "p=5,q=2", "wrong_value"),
    ("(5,2),(7,2)", "p=2,q=5;p=2,q=7", "wrong_value"),
    ("p=5,q=2;p=7,q=2", "(2,5),(2,7)", "wrong_value"),
    ("x=3, y=2", "(2,3)", "wrong_value"),
    ("1,2", "1", "wrong_value"),
    ("1,2", "1,2,3", "several_answers"),
    (r"\emptyset", "0", None),
    ("0", r"\text{no solution}", None),
    ("|x|", "x", "wrong_value"),
    (r"\sqrt{x^2}", "x", "wrong_value"),
    (r"\ln x", r"\ln(-x)", "wrong_value"),
    ("x+1", "x+1.000000001", "wrong_value"),
    (r"\pi", "3.14159265358979323846264338327950288", "wrong_value"),
    (r"\pi", r"\frac{22}{7}", "wrong_value"),
    (r"\sqrt2", "1.41421356237309504880", "wrong_value"),
    ("2^{n+1}", "2^n+1", "wrong_value"),
    (r"\log_2 3", r"\frac{\ln2}{\ln3}", "wrong_value"),
    ("f(4-x)", "f(x-4)", "wrong_value"),
    ("100!", "99!", "wrong_value"),
    ("18", "9^{9^{9^{9}}}", "too_large"),
    ("x", r"\sin(9^{9^{9}})", "too_large"),
    (r"\begin{pmatrix}2&0\\0&2\end{pmatrix}", r"2\begin{pmatrix}1&0\\0&1\end{pmatrix}", "unevaluated"),
]

EXPAND = "Expand $(x+1)(x+2)$."
FACTOR = "Factor $x^2-4$."
SIMPLIFY = r"Simplify $\sqrt{50}$."

# gold, answer, question
ECHOES = [
    ("x^2+3x+2", "(x+1)(x+2)+0", EXPAND),
    ("x^2+3x+2", "1(x+1)(x+2)", EXPAND),
    ("x^2+3x+2", "(x+1)^1(x+2)", EXPAND),
    ("x^2+3x+2", "(x+1.0)(x+2.0)", EXPAND),
    ("x^2+3x+2", r"\frac{(2+x)(1+x)}{1}", EXPAND),
    ("x^2+3x+2", r"(x+2)\cdot1\cdot(x+1)", EXPAND),
    ("x^2+3x+2", r"0+(x+1)\times(x+2)", EXPAND),
    ("(x-2)(x+2)", "x^2-4+0", FACTOR),
    ("(x-2)(x+2)", "-4+x^2", FACTOR),
    ("(x-2)(x+2)", "1(x^2-4)", FACTOR),
    ("(x-2)(x+2)", "x^{2.0}-4", FACTOR),
    (r"5\sqrt2", "50^{1/2}", SIMPLIFY),
    (r"5\sqrt2", "50^{0.5}", SIMPLIFY),
    (r"5\sqrt2", r"1\sqrt{50}", SIMPLIFY),
    (r"5\sqrt2", r"\sqrt{50.0}", SIMPLIFY),
    (r"5\sqrt2", r"\frac{\sqrt{50}}{1}", SIMPLIFY),
    ("0.75", "3/4", "Write 3/4 as a decimal."),
    ("18", "36/2", "What is 36 / 2?"),
    ("18", "36.0/2", r"What is $\frac{36}{2}$?"),
    (r"\sin x", r"\cos x\tan x", r"Simplify $\tan x\cos x$ for me."),
    ("x^2+3x+2", "(x+2)(x+1)", r"Let $f(x)=(x+1)(x+2)$. Write it as a sum."),
]

# gold, answer, question: right, although the question has some of it
NO_ECHOES = [
    ("0.5", r"\frac{1}{2}", "Compute (1+2)/6."),
    ("x^2+3x+2", "x^2+3x+2", EXPAND),
    (r"\frac34", "3/4", r"Which is larger, $\frac34$ or $\frac23$?"),
    (r"5\sqrt2", r"5\sqrt2", SIMPLIFY),
    ("x+1", "1+x", r"Find $x+1$ if $x^2=4$."),
    (r"\frac72", r"3.5\text{ cm}", "The rectangle has side 3.5 and area 7."),
    ("12", "12", "What is 3 times 4? (It is less than 12+1.)"),
]


@pytest.mark.parametrize("gold", GOLDS)
def test_gold_pays_its_own_text(gold):
    assert gold_problem(gold) == ""
    assert score(box(gold), solution=gold)[:2] == (1.0, "correct")
    assert score(box(gold), solution=box(gold))[:2] == (1.0, "correct")


FOLDER = Path(__file__).parents[3] / "shared/math"


@pytest.mark.skipif(not FOLDER.exists(), reason="needs the folder shared/math")
def test_golds_at_hand_pay_their_own_text():
    golds = json.loads((FOLDER / "golds.json").read_text())
    assert [gold for gold in golds if score(box(gold), solution=gold).value != 1.0] == []


@pytest.mark.parametrize(("gold", "answer"), FAIR)
def test_pays_fair_form(gold, answer):
    assert score(box(answer), solution=gold)[:2] == (1.0, "correct")


@pytest.mark.parametrize(("gold", "answer", "reason"), HACKS)
def test_does_not_pay_hack(gold, answer, reason):
    scored = score(box(answer), solution=gold)
    assert scored.value == 0.0
    assert reason in (None, scored.reason)


@pytest.mark.parametrize(("gold", "answer", "question"), ECHOES)
def test_expression_of_the_question_is_an_echo(gold, answer, question):
    assert score(box(answer), solution=gold, prompt=question).value == 0.0
    assert score(box(gold), solution=gold, prompt=question).value == 1.0


@pytest.mark.parametrize(("gold", "answer", "question"), NO_ECHOES)
def test_answer_in_its_own_form_is_no_echo(gold, answer, question):
    assert score(box(answer), solution=gold, prompt=question)[:2] == (1.0, "correct")


@pytest.mark.parametrize(
    "solution",
    [
        r"So x=\boxed{1} or x=\boxed{-2}.",
        r"\boxed{1} and \boxed{-2}",
        r"First, \boxed{1}. For 2 < 3 there is another one, so that 4 gives $\boxed{-2}$.",
    ],
)
def test_boxes_of_a_solution_are_its_set(solution):
    assert score(box("1, -2"), solution=solution)[:2] == (1.0, "correct")
    assert score(box("-2, 1"), solution=solution)[:2] == (1.0, "correct")
    assert score(solution, solution=solution)[:2] == (1.0, "correct")
    assert score(box("-2"), solution=solution)[:2] == (0.0, "wrong_value")
    assert score(box("1"), solution=solution)[:2] == (0.0, "wrong_value")


@pytest.mark.parametrize(
    "solution",
    ["The proof is left to the reader", "proof", "not found", r"\text{See the proof above}", r"\boxed{\text{proof}}"],
)
def test_prose_is_no_gold_answer(solution):
    assert "no gold answer" in gold_problem(solution)
    assert score(box(solution), solution=solution).value is None


@pytest.mark.parametrize("solution", ["East", "odd numbers", r"\text{infinitely many solutions exist here}"])
def test_words_are_a_gold_answer(solution):
    assert gold_problem(solution) == ""
    assert score(box(solution), solution=solution).value == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "(9!)!",
        "9^{9!}",
        "((((x^{999})^{999})^{999})^{999})^{999}",
        "((1+x)^{999}+1)^{999}",
        r"\sin" * 60 + "x",
        "x!" * 100,
        "9" * 390,
        "1," * 195 + "1",
        "+".join(f"x_{digit}" for digit in range(80)),
        r"\sqrt{" * 40 + "x" + "}" * 40,
        "|" * 100,
        "^" * 200,
        r"\frac{7^{13000}}{3^{25000}}" * 14,
        "(x+1)^{999}" * 30,
        r"\frac{16384!}{16383!}" * 15,
        "+".join(rf"{base}^{{-9999}}" for base in range(2, 10)) * 4,
    ],
)
@pytest.mark.parametrize("gold", ["18", "x+1", "(1,2)"])
def test_no_answer_takes_long(answer, gold):
    began = time.process_time()
    assert score(box(answer), solution=gold, prompt=f"Is it ${answer}$?").value == 0.0
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("under", [2, 5, 7, 10, 30])
@pytest.mark.parametrize("before", [2, 3, 13])
def test_root_equals_the_root_with_a_square_before_it(before, under):
    simple, whole = rf"{before}\sqrt{{{under}}}", rf"\sqrt{{{before**2 * under}}}"
    for answer, gold in ((simple, whole), (whole, simple)):
        assert score(box(answer), solution=gold).value == 1.0

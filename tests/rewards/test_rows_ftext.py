"""Right answers in the fair forms that a good model writes: the reward must pay each of them."""

import pytest

from axolotl_grpo_plugin.rewards import gsm8k, math
from tests.rewards.helpers import tagged

# Equal in both directions: whichever of the two is the gold.
EQUAL = [
    (r"\frac{3}{4}", "0.75"),
    (r"\frac{3}{4}", "3/4"),
    (r"\dfrac34", r"\tfrac{3}{4}"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"\frac{1}{-2}", "-0.5"),
    (r"1\frac{1}{2}", r"\frac{3}{2}"),
    (r"2\tfrac{3}{4}", "2.75"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"2\sqrt{3}", r"\sqrt{3}\cdot 2"),
    (r"\sqrt[3]{x}", r"x^{1/3}"),
    (r"\frac{1+\sqrt{5}}{2}", r"\frac12+\frac{\sqrt5}{2}"),
    (r"\frac{\ln 5}{\ln 2}", r"\log_2 5"),
    (r"\log 6", r"\log 2+\log 3"),
    (r"\ln 3^2", r"2\ln 3"),
    (r"e^{-x}", r"\frac{1}{e^x}"),
    (r"\frac{\pi}{4}", r"\frac14\pi"),
    (r"(x+1)(x+2)", "x^2+3x+2"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    (r"\tan x", r"\frac{\sin x}{\cos x}"),
    (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"),
    (r"\{1,2,3\}", r"\{3, 1, 2\}"),
    (r"\{1,2\}", r"\left\{ 2,\, 1 \right\}"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2"),
    (r"x=1 \text{ or } x=2", "1, 2"),
    (r"1 \text{ and } 2", r"\{1,2\}"),
    (r"(-\infty, 3]", r"x \le 3"),
    (r"(2,\infty)", "x > 2"),
    (r"(1,4]", r"1 < x \leq 4"),
    (r"[1,2]\cup[5,6]", r"[5,6] \cup [1,2]"),
    (r"(-\infty,0)\cup(1,\infty)", r"x<0 \text{ or } x>1"),
    (r"x \in [1,2]", r"1 \leqslant x \leqslant 2"),
    (r"x \geq 5", r"5 \le x"),
    (r"(-\infty,\infty)", r"\mathbb{R}"),
    (r"\emptyset", r"\varnothing"),
    (r"\emptyset", r"\{\}"),
    (r"(1,2)", r"\left( 1, 2 \right)"),
    (r"(\tfrac12, 3)", "(0.5, 3)"),
    (r"x=3, y=4", "y=4, x=3"),
    (r"x=3, y=4", "(3,4)"),
    (r"x=3, y=4", r"x=3 \text{ and } y=4"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"),
    (r"\begin{pmatrix}1/2\\3\end{pmatrix}", r"\begin{pmatrix} \frac{1}{2} \\[4pt] 3 \end{pmatrix}"),
    ("x = 5", "5"),
    ("f(x) = x^2", "x^2"),
    (r"\text{Area} = 12", "12"),
    (r"12\text{ cm}", "12"),
    (r"12\,\text{cm}^2", r"12 \text{ square centimeters}"),
    (r"9.8\ \mathrm{m/s^2}", "9.8"),
    (r"\$18.50", "18.50"),
    (r"\$1{,}000", "1000"),
    ("18.5", "18.50"),
    (r"28\%", "28"),
    ("28%", r"28\%"),
    (r"30^\circ", "30"),
    (r"30^{\circ}", "30 degrees"),
    ("1,234,567", "1234567"),
    (r"10{,}080", r"10\,080"),
    (r"\text{even}", "even"),
    (r"\text{Saturday}", "saturday"),
    (r"\text{(B)}", "B"),
    (r"\textbf{(C)}", "(C)"),
    (r"\mathrm{A}", "A"),
    ("2:30", r"2\!:\!30"),
    (r"2\!:\!30 \text{ p.m.}", r"2:30\text{ PM}"),
    (r"3+4i", "4i+3"),
    (r"y = 2x + 3", "y = 3 + 2x"),
    (r"\binom{5}{2}", "10"),
    (r"2^{10}", "1024"),
    (r"1.5\times10^3", "1500"),
    (r"|x|", r"\left|x\right|"),
    (r"\frac{3}{4}", r"{3\over 4}"),
    (r"\frac{3}{4}", "¾"),
    (r"\sqrt{2}", "√2"),
    (r"2\pi", "2π"),
    (r"x\le 3", "x ≤ 3"),
    ("-5", "−5"),
    (r"[0,\infty)", r"[0, +\infty)"),
    (r"\arctan 2", r"\tan^{-1} 2"),
    (r"\sin(2x)", r"2\sin x\cos x"),
    (r"\ln|x|+C", r"C+\ln|x|"),
    (r"60\text{ mph}", "60 miles per hour"),
    (r"\$5", r"5\text{ dollars}"),
    ("D", "D)"),
    ("D", "D."),
    (r"(1,2),(3,4)", r"\{(1,2),(3,4)\}"),
    (r"x=1,2", r"x=1, x=2"),
    (r"x=\pm 2", r"\{-2,2\}"),
    ("0<x<1", "1>x>0"),
    (r"x\neq2", r"(-\infty,2)\cup(2,\infty)"),
    (r"\mathbb{R}\setminus\{2\}", r"x\ne 2"),
    (r"\mathbb{R}\setminus\{2\}", r"(-\infty,2)\cup(2,\infty)"),
    (r"y=2x+3", r"2x-y+3=0"),
    (r"2x+4y=6", "x+2y=3"),
    (r"0.\overline{27}", r"\frac{3}{11}"),
    (r"100000", r"100\;000"),
    (r"\langle 1,2\rangle", "(1,2)"),
    (r"\left\langle 1,2\right\rangle", r"\langle 1, 2 \rangle"),
    (r"\{x: x>2\}", "x>2"),
    (r"\{x \mid x>2\}", r"(2,\infty)"),
    (r"\{x \in \mathbb{R} \mid 1 \le x < 4\}", "[1,4)"),
    (r"2e^{i\pi/3}", r"1+\sqrt3 i"),
    (r"\frac{1}{x-1}", r"-\frac{1}{1-x}"),
    (r"\frac{50}{3}\%", r"16\frac{2}{3}\%"),
    (r"50\%", r"\frac12"),
    (r"\text{no real solutions}", r"\emptyset"),
]

# The reverse leaves work to the reader, or is not a fair form.
ONE_WAY = [(r"\ln 3^2", r"2\ln 3"), (r"\binom{5}{2}", "10"), (r"1.5\times10^3", "1500"), (r"2^{10}", "1024")]

OWN = [
    r"\frac{100!}{2^{50}}",
    "9^{9^{9}}",
    r"\text{March 5}",
    r"5\text{ hours } 30\text{ minutes}",
    r"2\!:\!30\text{ p.m.}",
    r"\sum_{k=1}^{n} k^2",
    r"\int_0^1 f(x)\,dx",
    r"x \equiv 3 \pmod{7}",
    r"x^2+y^2=25",
    r"\{x \mid x > 2\}",
    r"\frac{\pi}{6}+2k\pi, k\in\mathbb{Z}",
    r"\overline{AB}",
    r"0.\overline{3}",
    "1011_2",
    "3:4",
    r"\triangle ABC",
    r"\angle A",
    r"\mathbf{i}+2\mathbf{j}",
    r"\lfloor \sqrt{n} \rfloor",
    r"\gcd(m,n)",
    r"\text{no solution}",
    r"A \cup B",
    r"\text{True}",
]

COMPLETIONS = [
    r"The answer is $\boxed{\frac{3}{4}}$.",
    r"Thus \[\boxed{\dfrac{3}{4}}\]",
    r"\(\boxed{0.75}\)",
    r"$$\boxed{ \frac{3}{4} }$$",
    r"<think>try \boxed{2}</think>So \boxed{3/4}",
    r"<think>a</think><answer>$\frac34$</answer>",
    r"<answer>\(\frac{3}{4}\)</answer>",
    r"<answer>\[ \frac{3}{4} \]</answer>",
    "<answer>**3/4**</answer>",
    r"<answer>\boxed{3/4}</answer>",
    r"\boxed{x = \frac{3}{4}}",
    r"\boxed{\displaystyle\frac{3}{4}}",
    r"\fbox{\frac{3}{4}}",
    "Work.\n#### 3/4",
]

GSM8K = [
    ("1,234", "1234"),
    ("$1,234.00", "1234"),
    ("1234 dollars", "1,234"),
    ("€18", "18"),
    ("18 €", "18"),
    ("£18.", "18"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("+18", "18"),
    ("018", "18"),
    ("18.", "18"),
    ("18.50", "18.5"),
    (".5", "0.5"),
    ("EUR 18", "18"),
    ("18 USD", "18"),
    ("total = 18", "18"),
    ("x = $18", "18"),
    (r"\boxed{18}", "18"),
    (r"$\boxed{18}$", "18"),
    ("$18$", "18"),
    ("**18**", "18"),
    (r"\boxed{\$18}", "18"),
    ("18 square feet", "18"),
    ("18 km/h", "18"),
    ("18 hours.", "18"),
    ("18%", "18"),
    ("  18\r\n", "18"),
    ("**$18**", "18"),
    ("$18 per hour", "18"),
    ("¥18", "18"),
    ("18 °C", "18"),
    ("₹18", "18"),
    ("$ 18", "18"),
    (r"\$18", "18"),
    (r"18\%", "18"),
    (r"\(18\)", "18"),
    (r"\boxed{18\text{ dollars}}", "18"),
    ("18 dollars/hour", "18"),
    ("$.50", "0.5"),
    ("`18`", "18"),
    ("18 one-way tickets", "18"),
    ("18 children's books", "18"),
]

# Forms that neither the grammar nor math-verify reads: reported before the training, never paid.
UNREADABLE = [r"\begin{cases}x&x>0\\-x&x\le0\end{cases}", r"\{2k+1 : k \in \mathbb{Z}\}", r"a \mid b"]

NOT_YET_PAID = [
    ("E", r"\text{(E)}\ 12"),
    (r"1011_2", r"1011_{\text{two}}"),
    (r"5\text{ feet }6\text{ inches}", r"5\text{ ft }6\text{ in}"),
    (r"\text{March 5}", r"\text{5 March}"),
    (r"\{x|x<1\}\cup\{x|x>2\}", r"(-\infty,1)\cup(2,\infty)"),
]


def check_pays(gold, answer):
    assert math.accuracy_reward_func.score(rf"So \boxed{{{answer}}}.", solution=gold).value == 1


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_pays_an_equal_form(gold, answer):
    check_pays(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), [row for row in EQUAL if row not in ONE_WAY])
def test_pays_the_reverse(answer, gold):
    check_pays(gold, answer)


@pytest.mark.parametrize("gold", [*OWN, *dict.fromkeys(text for row in EQUAL for text in row)])
def test_gold_pays_its_own_text(gold):
    check_pays(gold, gold)


@pytest.mark.parametrize("completion", COMPLETIONS)
def test_pays_the_answer_in_every_place(completion):
    assert math.accuracy_reward_func.score(completion, solution=r"\frac{3}{4}").value == 1


@pytest.mark.parametrize(("answer", "gold"), GSM8K)
def test_gsm8k_pays_a_number_in_every_fair_form(answer, gold):
    assert gsm8k.correctness_reward_func.score(tagged(answer), answer=gold).value == 2


@pytest.mark.parametrize("gold", UNREADABLE)
def test_reports_a_gold_that_cannot_be_read(gold):
    assert math.gold_problem(gold)
    assert math.accuracy_reward_func.score(rf"\boxed{{{gold}}}", solution=gold).value is None


@pytest.mark.xfail(strict=True, reason="fair forms that no rule reads yet")
@pytest.mark.parametrize(("gold", "answer"), NOT_YET_PAID)
def test_pays_a_form_that_no_rule_reads_yet(gold, answer):
    check_pays(gold, answer)

"""The constructs of the grammar, each with a name; then tables of fair forms and of attacks.

The tables were written before the grammar was tried on them, and the grammar was repaired for the rows that failed.
"""

import pytest

from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from axolotl_grpo_plugin.rewards.mathematics.grammar import read
from axolotl_grpo_plugin.rewards.mathematics.tokens import tokens
from axolotl_grpo_plugin.rewards.mathematics.units import unit_of
from tests.rewards.helpers import lines

score = accuracy_reward_func.score


def box(answer):
    return rf"So the answer is $\boxed{{{answer}}}$."


# name of a construct, text, the kinds of the trees that it has
CONSTRUCTS = [
    ("a fraction", r"\dfrac34", ["/"]),
    ("a mixed number", r"1\frac{3}{4}", ["mixed"]),
    ("a repeating decimal", r"0.1\overline{6}", ["number"]),
    ("a root with an index", r"\sqrt[3]{x}", ["^"]),
    ("a root of a letter", r"\sqrt n", ["^"]),
    ("a Greek letter", r"\Omega t", ["*"]),
    ("a function without brackets", r"\sin 2x", ["sin"]),
    ("a function with several arguments", r"\gcd(m,n)", ["gcd"]),
    ("a binomial in words of TeX", r"{n\choose 2}", [r"\binom"]),
    ("a binomial with indices", "_nC_2", [r"\binom"]),
    ("a tuple", r"\left(1,\frac12\right)", ["()"]),
    ("angle brackets", r"\langle 1,2\rangle", ["()"]),
    ("a point with a name", "P(1,2)", ["call"]),
    ("an interval", "[1,2)", ["[)"]),
    ("an inequality", r"1\le x<2", ["[)"]),
    ("an unsolved inequality", "x+1>3", ["<"]),
    ("an equation", "x^2+y^2=1", ["="]),
    ("a set with nested braces", r"\left\{\frac{\sqrt{2}}{2},\frac{1}{2}\right\}", ["/", "/"]),
    ("a set of a set", r"\{\{1,2\}\}", ["{}"]),
    ("a set by a condition", r"\{x\mid x>2\}", ["()"]),
    ("numbers without some", r"\mathbb{R}\setminus\{1\}", [r"\setminus"]),
    ("a union", r"(0,1)\cup(2,3)", [r"\cup"]),
    ("a matrix", r"\begin{bmatrix}1&2\\[2pt]3&4\end{bmatrix}", ["matrix"]),
    ("an array in brackets", r"\left[\begin{array}{c c}1&2\\3&4\end{array}\right]", ["matrix"]),
    ("lines of equations", r"\begin{cases}x=1\\y=2\end{cases}", ["number", "number"]),
    ("cases", r"\begin{cases}x,&x\ge0\\-x,&\text{if }x<0\end{cases}", ["cases"]),
    ("fonts and colours with nested braces", r"\textcolor{blue}{\mathbf{\frac{3}{4}}}", ["/"]),
    ("a sign of size and a full stop", r"\displaystyle 18.", ["number"]),
    ("two values", r"1\pm\sqrt2", ["+", "+"]),
    ("a number with a base", r"1011_{\text{two}}", ["based"]),
    ("a ratio with names", "a:b=3:4", ["ratio"]),
    ("a time", r"9{:}30\text{ a.m.}", ["time"]),
    ("a percent", r"12.5\,\%", ["%"]),
    ("a choice and its value", r"\textbf{(C)}\ 18", ["number"]),
    ("no solution", r"\text{No real solutions.}", ["name"]),
    ("a sum", r"\sum_{k=1}^{n} k^2", ["big"]),
    ("a value after a name", r"\Pr[X>2]=\frac34", ["/"]),
    ("a rounded value after it", r"\frac13\approx0.333", ["/"]),
    ("a condition", r"k\pi\ (k\in\mathbb{Z})", ["*"]),
    ("a condition in words", r"n+1\text{ for all }n", ["+"]),
    ("degrees and minutes", "63^{\\circ}45^{\\prime}", ["number"]),
    ("feet and inches", r"5\text{ feet }6\text{ inches}", ["number"]),
]


@pytest.mark.parametrize(("text", "kinds"), [pytest.param(*row[1:], id=row[0]) for row in CONSTRUCTS])
def test_reads_construct(text, kinds):
    assert [item.tree.kind for item in read(text).items] == kinds


def test_answer_that_is_cut_off_anywhere_has_a_score():
    for _, text, _ in CONSTRUCTS:
        for end in range(1, len(text)):
            assert score(f"<answer>{text[:end]}</answer>", solution="777").value == 0.0
    assert score("<answer>(A),()</answer>", solution="777").value == 0.0


def test_reads_what_is_beside_a_value():
    (item,) = read(r"x \equiv 2 \pmod{7}").items
    assert (item.name, item.modulus.value) == ("x", 7)
    (item,) = read(r"v = 10\,\frac{\text{m}}{\text{s}}").items
    assert (item.name, item.unit) == ("v", ("m", "/", "s"))
    assert read(r"k\pi, k\in\mathbb{Z}").parameters == {"k"}
    assert read(r"\textbf{(C)}\ 18").items[0].letter == "C"
    assert read(r"\pi\approx3.14").items[0].rounded.value != 3


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (("km",), 1000),
        (("m", "/", "s", "^", "2"), 1),
        (("square", "meters"), 1),
        (("cm", "^", "2"), 0.0001),
        (("meters", "per", "second", "squared"), 1),
    ],
)
def test_size_of_unit(words, size):
    assert float(unit_of(words).factor) == size


def test_noun_is_no_unit():
    assert unit_of(("red", "apples")) is None


def test_layout_has_no_token():
    plain = [token.text for token in tokens(r"\frac{1}{2}")]
    for text in (r"\left.\dfrac{1}{2}\right.", r"$\displaystyle\tfrac {1}{2}$", r"\mathbf\frac{1}\!{2}"):
        assert [token.text for token in tokens(text)] == plain


# A gold, then answers that equal it.
FAIR = r"""
\frac{7}{12} ¦ \dfrac{7}{12} ¦ \tfrac7{12} ¦ 7/12 ¦ \displaystyle\frac{7}{12} ¦ \mathbf{\frac{7}{12}}
\frac{7}{12} ¦ \boldsymbol{\frac{7}{12}} ¦ \textcolor{blue}{\frac{7}{12}} ¦ \color{red}{\frac{7}{12}}
\frac{7}{12} ¦ \left(\frac{7}{12}\right) ¦ x=\frac{7}{12} ¦ \frac{7}{12}\approx0.583
\frac{7}{12} ¦ \text{Probability}=\frac{7}{12} ¦ P=\frac{7}{12} ¦ P(A)=\frac7{12} ¦ P(A\cap B)=\frac7{12}
\frac{7}{12} ¦ \Pr(X>2)=\frac{7}{12} ¦ \mathbb{P}[X=3]=\frac{7}{12} ¦ \frac{7}{12}. ¦ \boxed{\frac{7}{12}}
\frac{7}{12} ¦ \frac{14}{24} ¦ 7:12 ¦ {\frac{7}{12}}
-\frac{3}{5} ¦ \frac{-3}{5} ¦ -0.6 ¦ −3/5 ¦ -\dfrac35 ¦ x=-\frac{3}{5} ¦ -\frac{3}{5}\,. ¦ \frac{3}{-5}
-\frac{3}{5} ¦ m=-\frac35
42 ¦ 42.0 ¦ +42 ¦ 042 ¦ n = 42 ¦ 42\text{ cm} ¦ 42\,\mathrm{cm}^2 ¦ 42~\text{units} ¦ 42 square units
42 ¦ 42\text{ square units} ¦ \$42 ¦ 42\% ¦ 42^\circ ¦ 42\text{ m/s} ¦ 42\ \frac{\text{m}}{\text{s}} ¦ 42\,\Omega
42 ¦ 42\,\mu\text{m} ¦ 42\text{ K} ¦ 42\,\text{kg}\cdot\text{m}/\text{s}^2 ¦ ４２ ¦ 42元 ¦ 42个 ¦ 42\text{ 个} ¦ 42。
42 ¦ 42 ¥ ¦ Rs. 42 ¦ \text{42 students} ¦ 42\text{ (students)} ¦ \mathrm{42} ¦ \textbf{42} ¦ \displaystyle 42
42 ¦ f(3)=42 ¦ a_{10}=42 ¦ S=42 ¦ 42\text{ minutes} ¦ 42\text{ ways} ¦ \text{Total: }42 ¦ x\approx42
42 ¦ \lvert AB\rvert=42 ¦ AB=42\text{ cm} ¦ \angle ABC=42^\circ ¦ m\angle A = 42^{\circ}
12500 ¦ 12,500 ¦ 12{,}500 ¦ 12\,500 ¦ 12\;500 ¦ \$12,500 ¦ 12500.00 ¦ 1.25\times10^4 ¦ 1.25\cdot 10^{4} ¦ 12 500
12500 ¦ 12,500\text{ dollars} ¦ １２，５００
0.001 ¦ 10^{-3} ¦ \frac{1}{1000} ¦ 1\times10^{-3} ¦ .001 ¦ 0.1\%
100000 ¦ 10^5 ¦ 100{,}000 ¦ 10^{5}
3\sqrt{5} ¦ 3\sqrt5 ¦ \sqrt{45} ¦ 3\cdot\sqrt{5} ¦ 3 \times \sqrt{5} ¦ 3√5 ¦ 3\sqrt{5}\text{ cm} ¦ d = 3\sqrt{5}
3\sqrt{5} ¦ \sqrt{5}\cdot3 ¦ 3\sqrt{5}\approx 6.708 ¦ 3\,\sqrt{5} ¦ \left\{3\sqrt5\right\}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ \left\{\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2}\right\}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ \frac{1\pm\sqrt{13}}{2} ¦ x=\frac{1\pm\sqrt{13}}{2}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ \left\{\frac{1\pm\sqrt{13}}{2}\right\}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ x = \frac{1-\sqrt{13}}{2} \text{ or } x = \frac{1+\sqrt{13}}{2}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ \frac12\pm\frac{\sqrt{13}}2
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ x_1=\frac{1+\sqrt{13}}{2}, x_2=\frac{1-\sqrt{13}}{2}
\frac{1+\sqrt{13}}{2}, \frac{1-\sqrt{13}}{2} ¦ x_{1,2}=\frac{1\pm\sqrt{13}}{2}
\{-3,4\} ¦ -3,4 ¦ 4, -3 ¦ x=-3\text{ or }x=4 ¦ x=-3,\ x=4 ¦ x\in\{-3,4\} ¦ \{4,-3\} ¦ -3\text{ and }4
\{-3,4\} ¦ x_1=-3, x_2=4 ¦ \left\{-3,\,4\right\}
(2,-5) ¦ \left(2,-5\right) ¦ x=2,y=-5 ¦ x=2, \ y=-5 ¦ (x,y)=(2,-5) ¦ \begin{cases}x=2\\y=-5\end{cases}
(2,-5) ¦ \begin{array}{l}x=2\\y=-5\end{array} ¦ \begin{pmatrix}2\\-5\end{pmatrix} ¦ \langle 2,-5\rangle ¦ P(2,-5)
(2,-5) ¦ 2\mathbf{i}-5\mathbf{j} ¦ 2\hat{i}-5\hat{j} ¦ \left\{\begin{array}{l}x=2\\y=-5\end{array}\right.
(2,-5) ¦ \{(2,-5)\} ¦ P=(2,-5) ¦ A(2, -5) ¦ （2，-5）
\begin{pmatrix}1\\2\\-3\end{pmatrix} ¦ (1,2,-3) ¦ \begin{bmatrix}1\\2\\-3\end{bmatrix} ¦ \langle1,2,-3\rangle
\begin{pmatrix}1\\2\\-3\end{pmatrix} ¦ \mathbf{i}+2\mathbf{j}-3\mathbf{k}
\begin{pmatrix}1\\2\\-3\end{pmatrix} ¦ \left[\begin{array}{c}1\\2\\-3\end{array}\right]
\begin{pmatrix}1\\2\\-3\end{pmatrix} ¦ \left(\begin{matrix}1\\2\\-3\end{matrix}\right) ¦ \vec{v}=(1,2,-3)
\begin{pmatrix}1\\2\\-3\end{pmatrix} ¦ \begin{bmatrix} 1 \\[2mm] 2 \\[2mm] -3 \end{bmatrix}
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \begin{bmatrix}2&0\\1&3\end{bmatrix}
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \left[\begin{matrix}2 & 0\\1 & 3\end{matrix}\right]
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \left(\begin{array}{cc}2&0\\1&3\end{array}\right)
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \left(\begin{array}{c c}2&0\\1&3\end{array}\right)
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ A=\begin{pmatrix}2&0\\1&3\end{pmatrix}
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \left[\begin{array}{rr}2&0\\1&3\end{array}\right]
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ A^{-1}=\begin{pmatrix}2&0\\1&3\end{pmatrix}
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \begin{pmatrix}2&0\cr1&3\end{pmatrix}
\begin{pmatrix}2&0\\1&3\end{pmatrix} ¦ \begin{pmatrix} 2 & 0\\ 1 & 3 \end{pmatrix}.
(-\infty,-1)\cup(3,\infty) ¦ x<-1\text{ or }x>3 ¦ (3,\infty)\cup(-\infty,-1) ¦ \{x\mid x<-1\text{ or }x>3\}
(-\infty,-1)\cup(3,\infty) ¦ \left(-\infty,-1\right)\cup\left(3,+\infty\right) ¦ x\in(-\infty,-1)\cup(3,\infty)
(-\infty,-1)\cup(3,\infty) ¦ \mathbb{R}\setminus[-1,3] ¦ \{x: x<-1\}\cup\{x: x>3\} ¦ x < -1, x > 3 ¦ x<-1 \lor x>3
(-\infty,-1)\cup(3,\infty) ¦ x>3 或 x<-1
[0,4) ¦ 0\le x<4 ¦ 0\leqslant x < 4 ¦ \{x\mid 0\le x<4\} ¦ x\in[0,4) ¦ 4>x\ge0 ¦ x\ge0\text{ and }x<4
[0,4) ¦ \left[0,4\right) ¦ \{x\in\mathbb{R}: 0\leq x<4\}. ¦ \displaystyle 0\le x<4 ¦ 0 ≤ x < 4
x\ge5 ¦ [5,\infty) ¦ x\geq 5 ¦ x \geqslant 5 ¦ 5\le x ¦ \{x \mid x\ge5\} ¦ [5,+\infty) ¦ x>=5
x\ge5 ¦ \left\{x \,\middle|\, x \ge 5\right\}
\mathbb{R}\setminus\{0,2\} ¦ x\ne0,2 ¦ x\neq0, x\neq2 ¦ x\neq0\text{ and }x\neq2
\mathbb{R}\setminus\{0,2\} ¦ (-\infty,0)\cup(0,2)\cup(2,\infty) ¦ \{x\in\mathbb{R}\mid x\ne0,2\}
\mathbb{R}\setminus\{0,2\} ¦ x\in\mathbb{R}\setminus\{0,2\} ¦ \{x\mid x\ne0, x\ne2\} ¦ \mathbb{R}-\{0,2\}
\mathbb{R}\setminus\{0,2\} ¦ \mathbb{R}\backslash\{2,0\}
\emptyset ¦ \varnothing ¦ \text{no solution} ¦ \{\} ¦ \text{No real solutions.} ¦ \text{There are no solutions}
\emptyset ¦ 无解 ¦ \text{The empty set} ¦ no solution
\mathbb{R} ¦ (-\infty,\infty) ¦ \text{all real numbers} ¦ \text{All real numbers.} ¦ x\in\mathbb{R}
\mathbb{R} ¦ -\infty<x<\infty ¦ \text{全体实数}
2x^2-3x+1 ¦ 1-3x+2x^2 ¦ f(x)=2x^2-3x+1 ¦ y=2x^{2}-3x+1 ¦ 2x²-3x+1 ¦ 2 x^2 - 3 x + 1 ¦ (2x-1)(x-1) ¦ p(x)=2x^2-3x+1
2x^2-3x+1 ¦ 2x^2+1-3x ¦ (x-1)(2x-1)
y=-\frac{1}{2}x+4 ¦ y=4-\frac{x}{2} ¦ x+2y=8 ¦ x+2y-8=0 ¦ y=-0.5x+4 ¦ 2y=8-x ¦ y-4=-\frac12x ¦ -\frac12x+4
y=-\frac{1}{2}x+4 ¦ y=\frac{8-x}{2} ¦ f(x)=-\frac12x+4
(x-3)^2+(y+1)^2=16 ¦ (y+1)^2+(x-3)^2=16 ¦ x^2+y^2-6x+2y-6=0 ¦ (x-3)^2+(y+1)^2-16=0 ¦ (3-x)^2+(1+y)^2=16
(x-3)^2+(y+1)^2=16 ¦ x^2-6x+y^2+2y=6
\frac{\pi}{6}+k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{6}+n\pi, n\in\mathbb{Z} ¦ x=\frac{\pi}{6}+k\pi\ (k\in\mathbb{Z})
\frac{\pi}{6}+k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{6}+k\pi ¦ k\pi+\frac{\pi}{6},\ k\in\mathbb{Z}
\frac{\pi}{6}+k\pi, k\in\mathbb{Z} ¦ x=\frac{\pi}{6}+\pi n, \text{ where } n \text{ is an integer}
\frac{\pi}{6}+k\pi, k\in\mathbb{Z} ¦ \frac\pi6+m\pi \text{ for integer } m
\frac{\pi}{6}+k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{6} + \pi k \text{ for all } k\in\mathbb{Z}
\frac{x^2}{2}+C ¦ \frac12x^2+C ¦ C+\frac{x^2}2 ¦ \frac{x^2}{2}+c ¦ \frac{x^2}{2}+K ¦ 0.5x^2+C ¦ \frac{x^2}{2} + C_1
C_1e^{2x}+C_2e^{-x} ¦ Ae^{2x}+Be^{-x} ¦ C_1e^{-x}+C_2e^{2x} ¦ c_1e^{2x}+c_2e^{-x} ¦ y=C_1e^{2x}+C_2e^{-x}
C_1e^{2x}+C_2e^{-x} ¦ y(x)=Ae^{2x}+Be^{-x}
n\equiv3\pmod{8} ¦ 3\pmod 8 ¦ n\equiv 3\ (\text{mod } 8) ¦ n \equiv 3 \mod 8 ¦ n\equiv3(\bmod 8)
n\equiv3\pmod{8} ¦ n \equiv -5 \pmod 8
1101_2 ¦ 1101_{2} ¦ 1101_{\text{two}} ¦ (1101)_2 ¦ 1101 ¦ 1101_{(2)} ¦ 1101\text{ (base 2)} ¦ 1101_{\text{base }2}
1101_2 ¦ \text{1101}_2
B ¦ \text{B} ¦ (B) ¦ \textbf{(B)} ¦ \textbf{B} ¦ B. ¦ B) ¦ \text{(B) }12 ¦ \textbf{(B)}\ 12 ¦ (B)\ 12 ¦ B. 12 ¦ b
B ¦ \boxed{B} ¦ \mathrm{B} ¦ \text{Option B} ¦ \text{choice B} ¦ B: 12
\textbf{(D)}\ 25 ¦ D ¦ (D) ¦ 25 ¦ \textbf{(D)} ¦ \text{D} ¦ (D) 25 ¦ \textbf{(D) }25
AC ¦ A, C ¦ A,C ¦ \text{A and C} ¦ A、C ¦ C,A
3:4 ¦ 3 : 4 ¦ \frac34 ¦ a:b=3:4 ¦ 6:8 ¦ 3{:}4 ¦ 3\text{ to }4 ¦ AB:BC=3:4 ¦ 3∶4 ¦ 0.75
7:30 ¦ 07:30 ¦ 7{:}30 ¦ 7\!:\!30 ¦ 7:30\text{ a.m.} ¦ 7:30 AM
5\text{ km} ¦ 5000\text{ m} ¦ 5 ¦ 5\,\mathrm{km} ¦ 5 kilometers ¦ 5\text{ kilometers} ¦ 5km ¦ 5.0\text{ km}
90\text{ minutes} ¦ 1.5\text{ hours} ¦ 90 ¦ 90\text{ min} ¦ \frac{3}{2}\text{ hours}
15\text{ m/s} ¦ 54\text{ km/h} ¦ 15\,\frac{\text{m}}{\text{s}} ¦ 15 ¦ 15\text{ meters per second}
15\text{ m/s} ¦ 15\ \mathrm{m\,s^{-1}} ¦ 15\,\mathrm{m}\cdot\mathrm{s}^{-1}
\sqrt{ab} ¦ \sqrt{a}\sqrt{b} ¦ (ab)^{1/2} ¦ \sqrt{a}\cdot\sqrt{b} ¦ a^{\frac12}b^{\frac12} ¦ \sqrt{ba}
\sqrt{\frac{k}{m}} ¦ \frac{\sqrt{k}}{\sqrt{m}} ¦ \sqrt{k/m} ¦ \frac{\sqrt{km}}{m} ¦ \left(\frac{k}{m}\right)^{1/2}
\sqrt{\frac{k}{m}} ¦ \omega=\sqrt{\frac{k}{m}}
\frac{\tau t}{2} ¦ \frac12\tau t ¦ 0.5\tau t ¦ \frac{t\tau}{2} ¦ \tau t/2
\epsilon\Delta x ¦ \Delta x\,\epsilon ¦ \varepsilon\Delta x ¦ \epsilon\cdot\Delta x
\binom{n}{3} ¦ \frac{n(n-1)(n-2)}{6} ¦ {n\choose3} ¦ C(n,3) ¦ \dbinom{n}{3} ¦ _nC_3 ¦ C_n^3
\begin{cases}x^2&x\ge0\\-x&x<0\end{cases} ¦ \begin{cases}x^2,&x\ge0\\-x,&x<0\end{cases}
\begin{cases}x^2&x\ge0\\-x&x<0\end{cases} ¦ \begin{cases}x^2 & \text{if } x\ge0\\-x & \text{if } x<0\end{cases}
\begin{cases}x^2&x\ge0\\-x&x<0\end{cases} ¦ f(x)=\begin{cases}x^2&x\ge0\\-x&x<0\end{cases}
\begin{cases}x^2&x\ge0\\-x&x<0\end{cases} ¦ \begin{cases}-x&x<0\\x^2&x\ge0\end{cases}
\begin{cases}x^2&x\ge0\\-x&x<0\end{cases} ¦ \begin{cases} x^{2}, & \text{for } x \geq 0, \\ -x, & \text{for } x < 0. \end{cases}
\text{ellipse} ¦ \text{an ellipse} ¦ ellipse ¦ \text{Ellipse.} ¦ \text{the ellipse} ¦ \textit{ellipse}
3+4i ¦ 4i+3 ¦ 3+i4 ¦ z=3+4i ¦ 3+4\mathrm{i} ¦ 3+4\,i ¦ (3+4i)
\frac{\sqrt{3}}{2}+\frac{1}{2}i ¦ \frac{\sqrt3+i}{2} ¦ \frac12(\sqrt3+i) ¦ \frac{1}{2}i+\frac{\sqrt{3}}{2}
\frac{\sqrt{3}}{2}+\frac{1}{2}i ¦ e^{i\pi/6}
\ln 3 ¦ \ln(3) ¦ \ln{3} ¦ -\ln\frac13 ¦ \log_e 3 ¦ \ln 3\approx1.0986
a=2,b=-1 ¦ a=2, b=-1 ¦ b=-1, a=2 ¦ a=2\text{ and }b=-1 ¦ (2,-1) ¦ (a,b)=(2,-1) ¦ 2,-1 ¦ a=2;\ b=-1
f(n)=n+1 ¦ n+1 ¦ f(n)=n+1\text{ for all }n ¦ f(x)=x+1 ¦ f(n)=1+n ¦ f(n) = n+1 \text{ for all positive integers } n
3x-2y+5=0 ¦ 3x+5=2y ¦ y=\frac{3x+5}{2} ¦ 2y=3x+5 ¦ y=\frac32x+\frac52 ¦ -3x+2y-5=0
33\frac{1}{3}\% ¦ \frac{100}{3}\% ¦ \frac{1}{3} ¦ 33\frac13\text{ percent} ¦ 33 1/3\%
5\frac{2}{3} ¦ \frac{17}{3} ¦ 5\,\frac23 ¦ 17/3 ¦ 5 2/3 ¦ 5\tfrac{2}{3}
\frac{11}{36} ¦ \dfrac{11}{36} ¦ P=\dfrac{11}{36} ¦ \frac{11}{36}\approx 30.6\%
\frac{11}{36} ¦ P(\text{at least one})=\frac{11}{36} ¦ 11/36 ¦ \text{P}(A)=\frac{11}{36} ¦ \mathrm{P}=\frac{11}{36}
9.8\,\text{m/s}^2 ¦ 9.8 ¦ 9.8\ \mathrm{m\cdot s^{-2}} ¦ 9.8\text{ m/s}^{2} ¦ 9.8 m/s^2 ¦ g=9.8\,\mathrm{m/s^2}
9.8\,\text{m/s}^2 ¦ 9.8\text{ meters per second squared} ¦ 9.8\,\frac{\text{m}}{\text{s}^2}
2.5\times10^{3}\text{ J} ¦ 2500\text{ J} ¦ 2.5\text{ kJ} ¦ 2500 ¦ 2.5\times10^3 ¦ 2.5\cdot10^3\,\mathrm{J}
2.5\times10^{3}\text{ J} ¦ E=2.5\times10^{3}\,\text{J}
25\% ¦ 25 ¦ 0.25 ¦ \frac14 ¦ 25\text{ percent} ¦ 25 \% ¦ 25.0\% ¦ ２５％ ¦ 25 per cent
120^\circ ¦ 120 ¦ 120° ¦ \angle BAC=120^\circ ¦ 120\text{ degrees} ¦ 120^{\circ} ¦ \theta = 120^\circ
120^\circ ¦ m\angle BAC=120
48\pi ¦ 48\pi\text{ cm}^3 ¦ V=48\pi ¦ 48 \pi ¦ 48\pi\ \text{cubic units} ¦ \pi\cdot48 ¦ 48π ¦ 48\pi\approx150.8
6\sqrt{2}-4 ¦ -4+6\sqrt2 ¦ 2(3\sqrt2-2) ¦ 6\sqrt{2} - 4 ¦ \sqrt{72}-4 ¦ 6\sqrt2-4\approx4.485
\frac{2\sqrt{3}}{3} ¦ \frac{2}{\sqrt3} ¦ \frac23\sqrt3 ¦ 2\sqrt3/3 ¦ \dfrac{2\sqrt{3}}{3} ¦ \sqrt{\frac43}
\frac{2\sqrt{3}}{3} ¦ \frac{2}{3}\sqrt{3}
x=2\text{ or }x=-\frac{1}{3} ¦ 2,-\frac13 ¦ \{2,-\frac{1}{3}\} ¦ x=-\frac13, x=2 ¦ x=2,\,-\frac13
x=2\text{ or }x=-\frac{1}{3} ¦ x = 2 \lor x = -\frac{1}{3} ¦ x_1=2,x_2=-\frac13 ¦ x\in\left\{-\frac13,2\right\}
x=2\text{ or }x=-\frac{1}{3} ¦ x = 2 或 x = -\frac{1}{3}
(-\infty,4] ¦ x\le4 ¦ \{x\mid x\le4\} ¦ x \leq 4 ¦ 4\ge x ¦ x∈(-∞,4] ¦ \left(-\infty,4\right] ¦ \{x|x\leqslant 4\}
(-\infty,4] ¦ m\le 4
[-2,1)\cup(1,3] ¦ \{x\mid -2\le x\le3, x\ne1\} ¦ -2\le x<1\text{ or }1<x\le3 ¦ [-2,3]\setminus\{1\}
[-2,1)\cup(1,3] ¦ (1,3]\cup[-2,1) ¦ \left[-2,1\right)\cup\left(1,3\right]
\frac{x^2}{9}+\frac{y^2}{4}=1 ¦ 4x^2+9y^2=36 ¦ \frac{y^2}{4}+\frac{x^2}{9}=1
\frac{x^2}{9}+\frac{y^2}{4}=1 ¦ \frac{x^{2}}{9} + \frac{y^{2}}{4} - 1 = 0 ¦ \dfrac{x^2}{9}+\dfrac{y^2}{4}=1
y=3x-7 ¦ 3x-y-7=0 ¦ y+7=3x ¦ 3x-y=7 ¦ y = -7+3x ¦ f(x)=3x-7 ¦ y-2=3(x-3)
x^2-4x+7 ¦ 7-4x+x^2 ¦ f(x)=x^2-4x+7 ¦ (x-2)^2+3 ¦ x²-4x+7 ¦ P(x)=x^2-4x+7 ¦ y = x^2 - 4x + 7
a_n=3n-1 ¦ 3n-1 ¦ a_n=-1+3n ¦ a_{n}=3n-1 ¦ a_n=2+3(n-1) ¦ a_n = 3n - 1, n\in\mathbb{N}
a_n=3n-1 ¦ a_n=3n-1\ (n\in\mathbb{N}^*) ¦ a(n)=3n-1
2^n-1 ¦ S_n=2^n-1 ¦ 2^{n}-1 ¦ -1+2^n ¦ a_n=2^n-1 ¦ 2\cdot2^{n-1}-1
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{\pi}{4}+\frac{n\pi}{2}, n\in\mathbb{Z}
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ x=\frac{\pi}{4}+\frac{k\pi}{2}\,(k\in\mathbb{Z})
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{(2k+1)\pi}{4},k\in\mathbb Z ¦ \frac{\pi}{4}+\frac{\pi}{2}n
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ x=\frac\pi4+\frac{\pi}{2}m,\ m\in\mathbb{Z}
-\frac{1}{x}+C ¦ C-\frac1x ¦ -\frac{1}{x}+c ¦ -x^{-1}+C ¦ C - x^{-1}
\ln|x+1|+C ¦ \ln\left|x+1\right|+C ¦ C+\ln|1+x| ¦ \ln|x+1|+c
e^{-2x}(3\cos x+\sin x) ¦ e^{-2x}(\sin x+3\cos x) ¦ 3e^{-2x}\cos x+e^{-2x}\sin x ¦ y=e^{-2x}(3\cos x+\sin x)
\text{Yes} ¦ yes ¦ YES ¦ \text{yes.} ¦ \textbf{Yes} ¦ Yes
\text{isosceles triangle} ¦ an isosceles triangle ¦ \text{Isosceles triangle.} ¦ isosceles triangle
\text{even} ¦ even ¦ \text{Even} ¦ \textbf{even}
D ¦ \text{D} ¦ (D) ¦ \textbf{(D)} ¦ D. ¦ \textbf{(D) }\frac{3}{4} ¦ \mathbf{D} ¦ (D)\ \frac34 ¦ \text{(D)}\ 5\sqrt2
D ¦ \text{D. } 12 ¦ D) 12 ¦ d
BCD ¦ B,C,D ¦ B, C, D ¦ \text{B, C and D} ¦ B、C、D
\textbf{(A)}\ \frac{1}{4} ¦ A ¦ \frac14 ¦ 0.25 ¦ (A) ¦ \textbf{(A)}\ \dfrac{1}{4} ¦ \text{(A)}
5:3 ¦ 5 : 3 ¦ \frac53 ¦ 5/3 ¦ 10:6 ¦ 5\text{ to }3 ¦ AD:DB=5:3 ¦ 5：3
\begin{pmatrix}-1&2\\0&5\end{pmatrix} ¦ \begin{bmatrix}-1&2\\0&5\end{bmatrix}
\begin{pmatrix}-1&2\\0&5\end{pmatrix} ¦ B=\begin{pmatrix}-1&2\\0&5\end{pmatrix}
\begin{pmatrix}-1&2\\0&5\end{pmatrix} ¦ \left[\begin{array}{cc}-1&2\\0&5\end{array}\right]
\begin{pmatrix}-1&2\\0&5\end{pmatrix} ¦ \begin{pmatrix}-1&\frac{4}{2}\\0&5\end{pmatrix}
\begin{pmatrix}-1&2\\0&5\end{pmatrix} ¦ \begin{Bmatrix}-1&2\\0&5\end{Bmatrix}
\langle 3,-1,2\rangle ¦ (3,-1,2) ¦ \begin{pmatrix}3\\-1\\2\end{pmatrix} ¦ 3\mathbf{i}-\mathbf{j}+2\mathbf{k}
\langle 3,-1,2\rangle ¦ 3\hat{\imath}-\hat{\jmath}+2\hat{k} ¦ \vec{n}=(3,-1,2) ¦ \mathbf{n}=\langle3,-1,2\rangle
\langle 3,-1,2\rangle ¦ 3\vec{i}-\vec{j}+2\vec{k}
\left(\frac{1}{2},-\frac{3}{4}\right) ¦ (0.5,-0.75) ¦ (1/2,-3/4) ¦ x=\frac12,y=-\frac34
\left(\frac{1}{2},-\frac{3}{4}\right) ¦ V\left(\frac12,-\frac34\right) ¦ \left( \frac{1}{2}, -\frac{3}{4} \right)
n\equiv 5\pmod{12} ¦ 5\pmod{12} ¦ n \equiv 5 \,(\mathrm{mod}\,12) ¦ n\equiv5 \pmod {12} ¦ n≡5 (mod 12)
n\equiv 5\pmod{12} ¦ n\equiv-7\pmod{12} ¦ n = 5 \pmod{12}
3A7_{12} ¦ 3A7_{\text{twelve}} ¦ 3A7 ¦ (3A7)_{12} ¦ 3A7_{12}.
1{,}250{,}000 ¦ 1250000 ¦ 1,250,000 ¦ 1.25\times10^6 ¦ \$1,250,000 ¦ 1\,250\,000
8 ¦ 8.0 ¦ k=8 ¦ \text{8 apples} ¦ 8\text{ ways} ¦ 8人 ¦ 8 人 ¦ 8种 ¦ 8米 ¦ 8\text{ 厘米} ¦ 答案：8 ¦ 8\text{ square units}
8 ¦ |AB|=8 ¦ \overline{AB}=8 ¦ AB = 8 ¦ \text{Area} = 8 ¦ [ABC]=8 ¦ S_{\triangle ABC}=8 ¦ d(A,B)=8 ¦ f'(2)=8
8 ¦ \lim_{x\to2}f(x)=8 ¦ \det A = 8 ¦ \max=8 ¦ M_{\max}=8 ¦ |\vec{a}|=8 ¦ \|v\|=8 ¦ xy=8
x\ne2 ¦ x\in\mathbb{R}\setminus\{2\} ¦ \mathbb{R}\setminus\{2\} ¦ \text{all real numbers except }2
x\ne2 ¦ (-\infty,2)\cup(2,\infty) ¦ \{x\mid x\neq2\} ¦ \left\{x\,\middle|\,x\ne2\right\}
x\in\mathbb{R}\setminus\{0,1\} ¦ x\ne0,1 ¦ (-\infty,0)\cup(0,1)\cup(1,\infty) ¦ \mathbb{R}\setminus\{1,0\}
10 ¦ 10\,\text{Å} ¦ 10'' ¦ 10个 ¦ 10\,\mu\text{m} ¦ 10\text{ 元} ¦ 10' ¦ 10\,\mathrm{~K} ¦ 10\text{ K}
300\mathrm{~K} ¦ 300 ¦ 300\text{ K}
\cos(-2.01)\approx-0.425 ¦ -0.425 ¦ \cos(-2.01) ¦ \cos(2.01)
5:1 ¦ x = 5 : 1 ¦ x=5:1 ¦ 5 : 1 ¦ \frac51
f(x)=cx ¦ f(x)=cx\text{ for some constant }c ¦ cx ¦ f(x)=kx,\text{ where }k\text{ is a constant} ¦ f(t)=ct
\text{all integers } n\geq3 ¦ n\ge3 ¦ n\geq 3 ¦ \text{all }n\ge3
\hbar \omega(v+1/2)-\frac{E_0^2e^2}{2m\omega^2} ¦ \hbar\omega\left(v+\frac12\right)-\frac{e^2E_0^2}{2m\omega^2}
\hbar \omega(v+1/2)-\frac{E_0^2e^2}{2m\omega^2} ¦ E=\hbar\omega(v+\frac{1}{2})-\frac{E_0^2e^2}{2m\omega^2}
\{x\mid x\ge3\},\{x\mid x\ge0\} ¦ [3,\infty),[0,\infty) ¦ \{x\mid x\ge3\},\{x\mid x\ge0\}.
\sum_{k=1}^{3} c ¦ \sum_{k=1}^{3}c ¦ \displaystyle\sum_{k=1}^3 c
\nabla f ¦ \nabla f.
\xi_1+\xi_2 ¦ \xi_2+\xi_1
\Phi(x) ¦ \Phi(x).
x\sqrt x ¦ \sqrt{x^3} ¦ x^{3/2} ¦ x^{1.5}
\frac{1}{\sqrt{1-v^2/c^2}} ¦ \frac{c}{\sqrt{c^2-v^2}} ¦ (1-v^2/c^2)^{-1/2}
\frac{1}{\sqrt{1-v^2/c^2}} ¦ \gamma=\frac{1}{\sqrt{1-\frac{v^2}{c^2}}}
\frac{3}{4} ¦ \text{Answer: }\frac34 ¦ \mathbf{\dfrac{3}{4}} ¦ \mathrm{\frac34} ¦ P(A|B)=\frac34
\frac{3}{4} ¦ \frac{3}{4}\text{ cup} ¦ \bm{\frac{3}{4}}
1011_2 ¦ 1011_{2} ¦ 1011_\text{two} ¦ 1011_{\mathrm{two}} ¦ (1011)_{2}
\text{(A)} ¦ A ¦ \textbf{(A) } 12 ¦ (A)
12\frac{1}{2}\% ¦ 12.5\% ¦ 0.125 ¦ \frac{25}{2}\%
\begin{bmatrix}0&1\\5&3\end{bmatrix} ¦ \left[\begin{matrix}0 & 1\\5 & 3\end{matrix}\right]
\begin{bmatrix}0&1\\5&3\end{bmatrix} ¦ \begin{bmatrix}0 & 1\\5 & 3\end{bmatrix}.
\begin{bmatrix}0&1\\5&3\end{bmatrix} ¦ \begin{array}{cc}0&1\\5&3\end{array}
\begin{bmatrix}0&1\\5&3\end{bmatrix} ¦ \left[\begin{array}{*{20}{c}}0&1\\5&3\end{array}\right]
\begin{bmatrix}0&1\\5&3\end{bmatrix} ¦ \left(\begin{smallmatrix}0&1\\5&3\end{smallmatrix}\right)
x=1,y=2,z=3 ¦ (1,2,3) ¦ \begin{cases}x=1\\y=2\\z=3\end{cases} ¦ \begin{aligned}x&=1\\y&=2\\z&=3\end{aligned}
x=1,y=2,z=3 ¦ x=1\\y=2\\z=3
\ln 2+C ¦ C+\ln2
2^{10} ¦ 1024 ¦ 2^{10}
是 ¦ \text{是} ¦ 是。
\text{无解} ¦ \emptyset ¦ no solution
6m ¦ 6\cdot m ¦ m\cdot6
x=y=z ¦ x=z=y
f(x)=x+1 ¦ f(x)-x=1
x+y<2 ¦ x+y-2<0 ¦ 2>x+y
a<b<c ¦ c>b>a
|x|<2 ¦ -2<x<2 ¦ x>-2, x<2 ¦ (-2,2)
1<|x|<2 ¦ 2>|x|>1 ¦ (-2,-1)\cup(1,2) ¦ 1<x<2\text{ or }-2<x<-1
(1,2,3) ¦ [1,2,3]
\{1,2\} ¦ A=\{1,2\} ¦ A=\{2,1\}
-5 ¦ -\$5 ¦ -\$5.00
60 ¦ 60^{th} ¦ 60^\text{th}
(2,\infty) ¦ (2, infinity)
2\binom n2 ¦ 2{n\choose 2}
\gcd(m,n) ¦ \gcd(n,m) ¦ \operatorname{gcd}(m,n)
\max(a,b) ¦ \max(b,a)
\log_2 3 ¦ log_2 3
\pi ¦ pi
"""

# A gold, then answers that are not the gold.
ATTACKS = r"""
408 ¦ 12\cdot34 ¦ 34\times12 ¦ 400+8 ¦ 2\cdot204 ¦ 20^2+8 ¦ \sqrt{166464} ¦ 816\cdot\frac12 ¦ \frac{1}{2}(816)
408 ¦ 3\cdot136 ¦ 51\cdot 2^3 ¦ 409-1 ¦ 4.08\times100 ¦ \frac{12\cdot34}{1} ¦ 408+0i^2 ¦ \lfloor408.9\rfloor
408 ¦ \max(408,1) ¦ \gcd(408,816) ¦ \int_0^{408}dx ¦ \log_2 2^{408} ¦ |{-408}| ¦ 17\cdot24 ¦ x=17\cdot24
408 ¦ 17*24=408 ¦ \binom{408}{1} ¦ 408^{1} ¦ 408 or 409 ¦ 408,409 ¦ \{408,409\} ¦ 408\pm1 ¦ 408.0000001 ¦ 408!/407!
408 ¦ 4.08e2
3-2i ¦ \frac{13}{3+2i} ¦ \frac{39-26i}{13} ¦ 13(3+2i)^{-1} ¦ \frac{26}{6+4i} ¦ (3-2i)^1\cdot1^2 ¦ 1+2-2i
3-2i ¦ \frac{(3-2i)^2}{3-2i} ¦ \overline{3+2i} ¦ 3+2i ¦ \frac{6-4i}{2} ¦ 3-\sqrt{-4}
5+12i ¦ (3+2i)^2 ¦ (3+2i)(3+2i) ¦ 9-4+12i ¦ (3+2i)^{2} ¦ 5+2\cdot6i ¦ 5-12i ¦ \frac{169}{5-12i} ¦ 9+12i+4i^2
3+2\sqrt2 ¦ (1+\sqrt2)^2 ¦ (1+\sqrt2)(1+\sqrt2) ¦ \frac{1}{3-2\sqrt2} ¦ 1+2+2\sqrt2 ¦ 1+2\sqrt2+\sqrt2^2
3+2\sqrt2 ¦ 3-2\sqrt2 ¦ \frac{(1+\sqrt2)^3}{1+\sqrt2} ¦ 5.828 ¦ 3+\sqrt2+\sqrt2
\sqrt{6} ¦ \sqrt2\sqrt3 ¦ \sqrt2\cdot\sqrt3 ¦ \sqrt{2\cdot3} ¦ \sqrt{\frac{12}{2}}
\sqrt{6} ¦ \frac{\sqrt{12}\sqrt{3}}{\sqrt6} ¦ 2.449 ¦ \sqrt{5+1} ¦ \frac{1}{2}\sqrt{4\cdot 6}
2-\sqrt3 ¦ \frac{1}{2+\sqrt3} ¦ \frac{\sqrt3-1}{\sqrt3+1} ¦ (2+\sqrt3)^{-1} ¦ \tan15^\circ ¦ \frac{(\sqrt3-1)^2}{2}
2-\sqrt3 ¦ 0.268
\log_2 3 ¦ \log_2 6-1 ¦ \log_2\frac62 ¦ \log_2(6/2) ¦ \log_2(2+1) ¦ \log_2 12-2 ¦ 1.585
x>2 ¦ 2x>4 ¦ x+1>3 ¦ x-2>0 ¦ -x<-2 ¦ 3x-6>0 ¦ \frac{x}{2}>1 ¦ x>\frac{6}{3}\cdot1 ¦ x>1+1 ¦ x\ge2 ¦ x>2.1 ¦ x<2
x>2 ¦ 2x+1>5 ¦ x>2,x>3 ¦ x>2\text{ or }x>3 ¦ x^3>8 ¦ \frac1x<\frac12
(-2,8) ¦ -5<x-3<5 ¦ |x-3|<5 ¦ -2<x ¦ -2\le x\le8 ¦ [-2,8] ¦ -4<2x<16 ¦ (-2,8] ¦ x<8 ¦ (-1-1,8)
x=3 ¦ x-3=0 ¦ x+1=4 ¦ 2x=6 ¦ x-2=4-3 ¦ 3x=9 ¦ x=1+2 ¦ x=\sqrt9 ¦ x=3\text{ or }4 ¦ y=3
y=2x+1 ¦ \frac{y-1}{3-1}=\frac{x-0}{1-0} ¦ \frac{y-1}{x-0}=\frac{3-1}{1-0} ¦ y-1=\frac{3-1}{1-0}(x-0) ¦ y-1=(3-1)x
y=2x+1 ¦ \begin{vmatrix}x&y&1\\0&1&1\\1&3&1\end{vmatrix}=0 ¦ (y-1)(1-0)=(x-0)(3-1) ¦ y=\frac{3-1}{1}x+1 ¦ y=2x+2
y=2x+1 ¦ y=(2)(1)x+1^2 ¦ y=(1+1)x+1 ¦ y^2=(2x+1)^2 ¦ x=2y+1 ¦ y>2x+1 ¦ y=y
(x-1)^2+(y-2)^2=25 ¦ (x-1)^2+(y-2)^2=3^2+4^2 ¦ (x-1)^2+(y-2)^2=(4-1)^2+(6-2)^2 ¦ (x-1)^2+(y-2)^2=5\cdot5
(x-1)^2+(y-2)^2=25 ¦ (x-1)^2+(y-2)^2=5 ¦ (x+1)^2+(y+2)^2=25 ¦ \sqrt{(x-1)^2+(y-2)^2}=\sqrt{9+16}
(x-1)^2+(y-2)^2=25 ¦ (x-1)^2+(y-2)^2=24
x\equiv 4\pmod 9 ¦ x\equiv4\pmod 5 ¦ 4 ¦ x=4 ¦ x\equiv4 ¦ x\equiv4\pmod{90} ¦ 4\pmod{3} ¦ x\equiv4\pmod{n}
x\equiv 4\pmod 9 ¦ x\equiv5\pmod 9 ¦ x\equiv 4\pmod{3^2} ¦ x\equiv2\cdot2\pmod9
5\text{ kg} ¦ 5\text{ g} ¦ 5\text{ m} ¦ 5\text{ lb} ¦ 50\text{ kg} ¦ 5\text{ seconds} ¦ 0.005\text{ kg} ¦ \$5 ¦ 5\%
5\text{ kg} ¦ 5^\circ
60\text{ miles} ¦ 60\text{ km} ¦ 60\text{ mph} ¦ 60\text{ miles per hour} ¦ 60\text{ minutes} ¦ 60\text{ feet}
60\text{ miles} ¦ 60\text{ square miles}
12\text{ cm}^2 ¦ 12\text{ cm}^3 ¦ 12\text{ cm} ¦ 12\text{ m}^2 ¦ 12\text{ square inches} ¦ 12\text{ mm}^2
\$20 ¦ 20\text{ cents} ¦ €20 ¦ 20\% ¦ £20 ¦ 20\text{ hours} ¦ \$20,000 ¦ \$0.20
30^\circ ¦ 30\text{ rad} ¦ 30\text{ cm} ¦ 30\% ¦ 31^\circ ¦ 30\text{ radians}
a=1,b=2 ¦ 2,1 ¦ a=2,b=1 ¦ b=1,a=2 ¦ (2,1) ¦ a=1 ¦ x=1,y=3 ¦ c=1,d=2
f(2)=5 ¦ g(3)=5 ¦ f(3)=5 ¦ f(5)=2 ¦ g(2)=5
\max f=3 ¦ \min f=3 ¦ \inf f=3 ¦ \max g=3 ¦ \max f=4
\{1,2,3\} ¦ \{1,2\} ¦ (1,2,3)... ¦ \{1,2,4\} ¦ 1,2 ¦ \{1,2,3,4\} ¦ [1,3] ¦ \{1,\{2,3\}\} ¦ \{1,1+1,3\}
\emptyset ¦ \{\emptyset\} ¦ {} ¦ \{0\} ¦ 0 ¦ \text{one solution} ¦ \{\{\}\} ¦ \text{undefined}
x+1 ¦ y+1 ¦ x+1+0\cdot y^2+1-1 ¦ \frac{(x+1)^2}{x} ¦ |x+1| ¦ \sqrt{(x+1)^2} ¦ x-1 ¦ x+\cos0 ¦ x+1^2 ¦ x+2-1
x+1 ¦ x+\frac{2}{2} ¦ 1x+1y ¦ x+1,x+2 ¦ z+1,z\in\mathbb{Z}
\frac{x^3}{3}+C ¦ \frac{x^3}{3} ¦ \frac{x^3}{3}+1 ¦ \frac{x^3}{3}+x ¦ \frac{x^2}{3}+C ¦ \frac{x^3}{3}+C+1-1
\frac{x^3}{3}+C ¦ \frac{x^3}{3}+Cx
k\pi, k\in\mathbb{Z} ¦ k\pi/2, k\in\mathbb{Z} ¦ 2k\pi, k\in\mathbb{Z} ¦ \pi ¦ (k+1)\pi x ¦ k ¦ 0 ¦ k\pi+1
C ¦ A ¦ B ¦ A,C ¦ \text{A or C} ¦ (A)(C) ¦ (A) 12 ¦ \textbf{(B)}\ 7 ¦ \text{not C} ¦ AC ¦ ABCD ¦ A=C ¦ D. 4 ¦ a
C ¦ \text{C or D}
\textbf{(C)}\ 18 ¦ A ¦ (A) ¦ 17 ¦ \textbf{(A)}\ 17 ¦ \textbf{(A)}\ 18 ¦ B) 18 ¦ 18,17 ¦ A,C
ABD ¦ A ¦ AB ¦ A,B ¦ ABCD ¦ A,B,C,D ¦ ABC ¦ A,B,E
\sqrt{x^2} ¦ x ¦ -x ¦ \sqrt{x}^2 ¦ x^2
\sqrt{x^2y^2} ¦ xy ¦ -xy ¦ x\sqrt{y}\sqrt{y}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \begin{pmatrix}1&2\\3&5\end{pmatrix} ¦ \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \begin{pmatrix}1&2\\3&2+2\end{pmatrix} ¦ (1,2,3,4)
\begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \frac12\begin{pmatrix}2&4\\6&8\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \begin{pmatrix}1&2\\3&4\end{pmatrix}^1
\begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \begin{vmatrix}1&2\\3&4\end{vmatrix} ¦ \begin{pmatrix}1&2\end{pmatrix}
(1,-2,3) ¦ (1,-2) ¦ (1,2,3) ¦ \mathbf{i}+2\mathbf{j}+3\mathbf{k} ¦ \begin{pmatrix}1\\-2\\4\end{pmatrix} ¦ 1,-2,3
(1,-2,3) ¦ \{1,-2,3\} ¦ (1,-1-1,3) ¦ \begin{pmatrix}1&-2\\3&0\end{pmatrix} ¦ Q(1,2,3)
3:4 ¦ 4:3 ¦ 3:4:5 ¦ a:b=4:3 ¦ 3 ¦ (1+2):4 ¦ 3:5 ¦ 34
9:30 ¦ 9:03 ¦ 9:31 ¦ 21:30 ¦ 9:30:15 ¦ 30:9
1101_2 ¦ 1101_3 ¦ 1011_2 ¦ 13_{10} ¦ 11_2 ¦ 1101_{\text{three}} ¦ 1101_{16}
\frac{1}{3} ¦ 0.33 ¦ 0.333333 ¦ \frac{1}{3}\cdot1^2\cdot2^0 ¦ \frac{1}{2+1} ¦ \frac26+0 ¦ 33\% ¦ \frac{\sqrt{9}}{9}
\frac{1}{3} ¦ 1-\frac23 ¦ \approx\frac13+0.01 ¦ \frac{2}{3}-\frac{1}{3} ¦ 3^{-1}
18 ¦ 18\text{ negated} ¦ 18\text{ Millionen} ¦ 18\text{ thousand} ¦ 18\text{ dozen} ¦ 18万 ¦ 18倍 ¦ 18多 ¦ 一八 ¦ 18k
18 ¦ 18\text{ M} ¦ 1\,8 ¦ 18/1.5 ¦ 18\text{ percent more} ¦ 17\approx18 ¦ 18\approx17.9, 17 ¦ 18 (mod 5)7
18 ¦ 18\text{ for }x=1\text{, }17\text{ for }x=2 ¦ 18\text{ or }17 ¦ 18\ \text{(or 17)} ¦ 180\% ¦ 18^2 ¦ 18_{9} 1
18 ¦ x_{18} ¦ 18'5 ¦ 18-17 ¦ \cancel{17}18 ¦ 18\mid17 ¦ \text{not }18 ¦ \text{around }18\text{ or more} ¦ \sqrt{18}
18 ¦ 18!
\frac{11}{36} ¦ \frac{11}{6^2} ¦ 1-\frac{25}{36} ¦ 1-\left(\frac56\right)^2 ¦ \frac{5+6}{36}
\frac{11}{36} ¦ \frac{11}{36}\cdot\frac11\cdot1 ¦ 0.306 ¦ 30.6\% ¦ \frac{11}{36},\frac{25}{36} ¦ \frac{36}{11}
\frac{11}{36} ¦ \frac{1}{6}+\frac{5}{36} ¦ \frac{\binom{11}{1}}{36} ¦ 2\cdot\frac16-\frac1{36}
9.8\,\text{m/s}^2 ¦ 9.8\text{ m/s} ¦ 9.8\text{ km/s}^2 ¦ 9.8\text{ m} ¦ 9.8\text{ ft/s}^2 ¦ 98\text{ m/s}^2
9.8\,\text{m/s}^2 ¦ 9.8\text{ s}
3\text{ hours} ¦ 3\text{ minutes} ¦ 3\text{ days} ¦ 180\text{ hours} ¦ 3\text{ km} ¦ 3\text{ s}
7\text{ inches} ¦ 7\text{ feet} ¦ 7\text{ cm} ¦ 7\text{ yards} ¦ 7\text{ inches}^2 ¦ 7\text{ lb}
48\pi ¦ 3\cdot16\pi ¦ 4^2\cdot3\pi ¦ \frac13\pi\cdot4^2\cdot9 ¦ 150.8 ¦ 48 ¦ 24\pi+24\pi ¦ 2\cdot24\pi ¦ 48\pi^2
48\pi ¦ \pi(7^2-1)
10 ¦ 5\cdot2 ¦ \sqrt{100} ¦ 10^1\cdot1 ¦ C_5^2 ¦ {}_5C_2 ¦ C(5,2) ¦ 5\choose2 ¦ \sum_{i=1}^4 i ¦ 1+2+3+4
10 ¦ 10\sin^2x+10\cos^2x ¦ x+10-x ¦ \operatorname{lcm}(2,5,10) ¦ \text{lcm}(5,10) ¦ \gcd(10,20) ¦ 1010_2
10 ¦ \text{ten}+0 ¦ 10\pm0.5 ¦ 10, 11 ¦ \ln e^{10} ¦ \lceil9.5\rceil ¦ 20\div2\cdot1 ¦ 10\cdot\frac{7}{7} ¦ 3!+4
10 ¦ \frac{100}{10}+0 ¦ \max\{10,3\} ¦ 110\bmod 100
-\frac{7}{25} ¦ 2\left(\frac35\right)^2-1 ¦ \cos(2\arccos\frac35) ¦ \frac{9-16}{25} ¦ \frac{7}{25} ¦ -0.28\%
-\frac{7}{25} ¦ 1-\frac{32}{25} ¦ -\frac{7}{5^2} ¦ -\frac{7}{5\cdot5}
2+3i ¦ \frac{13}{2-3i} ¦ (2-3i)^* ¦ \overline{2-3i} ¦ 2+\sqrt{-9} ¦ i(3-2i) ¦ \frac{4+6i}{2} ¦ \frac{(1+i)(5+i)}{2}
2+3i ¦ 2-3i ¦ 2+3j ¦ -i^2+1+3i
7+4\sqrt3 ¦ (2+\sqrt3)^2 ¦ \frac{1}{7-4\sqrt3} ¦ \frac{2+\sqrt3}{2-\sqrt3} ¦ (2+\sqrt3)(2+\sqrt3) ¦ 4+3+4\sqrt3
7+4\sqrt3 ¦ 13.93 ¦ \frac{14+8\sqrt3}{2} ¦ 7+2\sqrt3+2\sqrt3 ¦ 7+\sqrt{16\cdot3}
5\sqrt{3} ¦ \sqrt5\sqrt{15} ¦ \sqrt{25}\sqrt3 ¦ \frac{15}{\sqrt{3}}\cdot1^2 ¦ 2\sqrt3+3\sqrt3 ¦ \sqrt{3\cdot25}
5\sqrt{3} ¦ 8.66 ¦ 5\sqrt{1+2} ¦ \sqrt{150/2}
x<-3 ¦ x+3<0 ¦ 2x<-6 ¦ -x>3 ¦ x+5<2 ¦ x\le-3 ¦ x<3 ¦ x<-1-2 ¦ 1-x>4 ¦ x<-3.01 ¦ y<-3
x=4 ¦ 3x=12 ¦ x-4=0 ¦ x=2^2 ¦ x=2+2 ¦ 2x-8=0 ¦ \sqrt x=2 ¦ n=4 ¦ x=4,5 ¦ x^2=16 ¦ x\in[4,5]
y=3x-7 ¦ \frac{y-2}{x-3}=\frac{5-2}{4-3} ¦ y-2=\frac{5-2}{4-3}(x-3) ¦ y=3x+7 ¦ y=\frac{9-3}{2}x-7 ¦ y=(1+2)x-7
y=3x-7 ¦ y=3x-14+7 ¦ x=3y-7 ¦ y\ge3x-7 ¦ 3x-7=0 ¦ (y-3x+7)^2=0
x^2+y^2=10 ¦ x^2+y^2=1^2+3^2 ¦ x^2+y^2=(\sqrt{10})^2 ¦ x^2+y^2=100 ¦ (x-0)^2+(y-0)^2=9+1 ¦ x^2+y^2-2\cdot5=0
x^2+y^2=10 ¦ x^2-y^2=10 ¦ xy=10
a_n=3n-1 ¦ a_n=2+(n-1)\cdot(5-2) ¦ a_n=3n+1 ¦ b_n=3n-1 ¦ a_n=3n-2+1 ¦ S_n=3n-1 ¦ a_{n+1}=3n-1
2^n-1 ¦ \frac{2^n-1}{2-1} ¦ 2^n ¦ 2^n+1 ¦ \sum_{k=0}^{n-1}2^k ¦ 2^m-1 ¦ 2^{n-1}+2^{n-1}-1
n\equiv 5\pmod{12} ¦ 5 ¦ n=5 ¦ n\equiv5\pmod{6} ¦ n\equiv 5\pmod{24} ¦ n\equiv17\pmod{12} ¦ n\equiv 2+3\pmod{12}
n\equiv 5\pmod{12} ¦ m\equiv6\pmod{12} ¦ n\equiv5\pmod{3\cdot4}
D ¦ A ¦ C ¦ ABCD ¦ A,D ¦ \text{C or D} ¦ \text{not D} ¦ \textbf{(C)}\ 12 ¦ D,E ¦ (A),(D) ¦ \text{B. } 12 ¦ DD
BCD ¦ BC ¦ B,C ¦ ABCD ¦ B ¦ CD ¦ A,B,C,D ¦ BCE
[-2,1)\cup(1,3] ¦ [-2,3] ¦ [-2,1)\cup[1,3] ¦ (-2,1)\cup(1,3) ¦ [-2,1) ¦ x\ne1 ¦ [-2,3]\setminus\{2\}
[-2,1)\cup(1,3] ¦ [-2,0)\cup[0,1)\cup(1,3]
(-\infty,4] ¦ x<4 ¦ x\ge4 ¦ (-\infty,4) ¦ x\le2+2 ¦ x-4\le0 ¦ x\le5 ¦ [4,\infty) ¦ 2x\le8
\text{Yes} ¦ No ¦ \text{Yes or no} ¦ \text{not yes} ¦ \text{Yes, no} ¦ y ¦ \text{maybe yes} ¦ \text{Yes}\text{No}
\{2,3\} ¦ \{2\} ¦ \{2,3,4\} ¦ (2,3) ¦ [2,3] ¦ \{2,1+2\} ¦ \{\{2,3\}\} ¦ \{2\},\{3\} ¦ 2\le x\le3 ¦ \{2,3\}\cup\{4\}
\{2,3\} ¦ \{4,9\}
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{\pi}{4}+k\pi,k\in\mathbb{Z} ¦ \frac{\pi}{4}
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{\pi}{4}+\frac{k}{2}
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{\pi}{2}+\frac{k\pi}{2},k\in\mathbb Z
\frac{\pi}{4}+\frac{k\pi}{2},k\in\mathbb{Z} ¦ \frac{\pi}{4}+\frac{\pi}{2}
-\frac{1}{x}+C ¦ -\frac1x ¦ \frac1x+C ¦ -\frac{1}{x}+5 ¦ -\frac1x+x ¦ -\frac{1}{y}+C ¦ C
\sqrt{x+1} ¦ \sqrt{x}+1 ¦ \sqrt{y+1} ¦ (x+1)^{2/4}\cdot1^3+1-1 ¦ x+1 ¦ \pm\sqrt{x+1} ¦ \sqrt{x+\frac33}
25\% ¦ 2.5\% ¦ 0.25\% ¦ 250\% ¦ 25\text{ dollars} ¦ 5\cdot5\% ¦ \frac{1}{4}\% ¦ 2.5 ¦ 25^\circ
\$15.50 ¦ 15.50\text{ euros} ¦ 1550 ¦ \$15.05 ¦ 15.5\% ¦ 15\frac12\text{ cents} ¦ \$15+\$0.50
3A7_{12} ¦ 3A7_{13} ¦ 3A8_{12} ¦ 3\cdot A\cdot7 ¦ 3A7_{16} ¦ 559
(3,4) ¦ (4,3) ¦ 3,4 ¦ P(4,3) ¦ 4\mathbf{i}+3\mathbf{j} ¦ (3,4,0) ¦ (\sqrt9,4) ¦ x=4,y=3
(3,4) ¦ \begin{pmatrix}4\\3\end{pmatrix} ¦ (3,4),(4,3) ¦ [3,4] ¦ 3+4i
2i ¦ (1+i)^2 ¦ \sqrt{-4} ¦ 2\sqrt{-1} ¦ i+i ¦ -2i ¦ (1+i)(1+i) ¦ 1+2i-1
\frac12+\frac12i ¦ \frac{1}{1-i} ¦ (1-i)^{-1} ¦ \frac{i}{1+i} ¦ \frac12-\frac12i
\frac{3}{4} ¦ \frac{6}{2\cdot4} ¦ 3\div2^2 ¦ \frac{3}{4}\text{ dozen} ¦ 0.75001 ¦ \frac34\% ¦ \sin^2\frac{\pi}{3}
\frac{3}{4} ¦ 1-0.25 ¦ 3\cdot0.25
x^2-3x+2=0 ¦ x^2-(1+2)x+1\cdot2=0 ¦ (x-1)(x-3)=0 ¦ x^2-3x+2 ¦ x^2=3x+2 ¦ x^2-3x+2>0
408 ¦ \frac{408}{1}\cdot1\cdot2^0 ¦ 408\text{ or so} ¦ 408-0\cdot7+1-1 ¦ 24\cdot 17 ¦ 4.08\cdot10^2\cdot1^5
408 ¦ 408\text{ hundred}
\{1,2\} ¦ \{1,\frac{4}{2}\cdot1\} ¦ \{2,1,0\} ¦ \{1\}\cup\{3\} ¦ 1 ¦ \{x\mid1\le x\le2\}
\pi ¦ \frac{22}{7} ¦ 3.14 ¦ \frac{2\pi}{1+1} ¦ 180^\circ ¦ \pi^1\cdot1^\pi ¦ \arccos(-1)
\frac{\sqrt3}{2} ¦ \sin60^\circ ¦ \frac{\sqrt{1+2}}{2} ¦ 0.866 ¦ \sqrt{\frac34}\cdot1^2\cdot\frac22
\frac{\sqrt3}{2} ¦ \frac12\sqrt{9/3}
5\text{ hours} ¦ 5\text{ minutes} ¦ 5\text{ miles} ¦ 50\text{ hours} ¦ 300\text{ hours}
8\text{ cm}^3 ¦ 8\text{ cm}^2 ¦ 8\text{ m}^3 ¦ 8\text{ liters}
y=x ¦ x=x ¦ y=y ¦ y=-x ¦ y=x+0.001 ¦ y=x^2
n! ¦ n ¦ (n-1)! ¦ n!+1-1 ¦ n\cdot n!
3\text{ mod }7 ¦ 3\pmod5 ¦ 10
\text{Tuesday} ¦ \text{Monday} ¦ \text{Tuesday or Monday} ¦ \text{not Tuesday} ¦ T
[1,2)\cup(3,4] ¦ [1,2]\cup[3,4] ¦ [1,4] ¦ (1,2)\cup(3,4) ¦ [1,2) ¦ [1,1+1)\cup(3,4]
(2,3),(4,5) ¦ (2,5),(4,3) ¦ (2,3) ¦ (3,2),(5,4) ¦ (2,3,4,5) ¦ 2,3,4,5
a=b ¦ a=c ¦ a=2b ¦ 0=0
x+y<2 ¦ -x-y<-2 ¦ x-y<2 ¦ -x-y<2
Ae^x+B ¦ Ae^y+B
\max(a,b) ¦ \min(a,b) ¦ \max(a,c)
\gcd(m,n) ¦ \gcd(m,m)
|x|<2 ¦ 2<|x| ¦ |x|\le2
1<|x|<2 ¦ 1<x<2 ¦ 1\le|x|<2
"""

# A question, its gold, then answers that are the question's own, or leave it as it is.
ECHOES = r"""
Expand $(x+1)^5$. ¦ x^5+5x^4+10x^3+10x^2+5x+1 ¦ (x+1)^4(x+1) ¦ \frac{(x+1)^6}{x+1} ¦ (x+1)(x+1)(x+1)(x+1)(x+1) ¦ \frac{(2x+2)^5}{32} ¦ (x+1)^5 ¦ (1+x)^5
Factor $x^2-5x+6$. ¦ (x-2)(x-3) ¦ x(x-5)+6 ¦ (x-2.5)^2-0.25 ¦ x^2-5x+6 ¦ 1(x^2-5x+6) ¦ x^2-2x-3x+6 ¦ \frac{x^2-5x+6}{1}
Simplify $\sqrt{50}$. ¦ 5\sqrt{2} ¦ \sqrt5\sqrt{10} ¦ \frac{50}{\sqrt{50}} ¦ \sqrt{50} ¦ \sqrt{2\cdot25} ¦ \sqrt{25}\sqrt2
Write $0.75$ as a common fraction. ¦ \frac{3}{4} ¦ 0.75 ¦ .75 ¦ 0.750
Write the prime factorization of $360$. ¦ 2^3\cdot3^2\cdot5 ¦ 360 ¦ 360\cdot1
What is $\frac{5}{8}$ as a percent? ¦ 62.5\% ¦ \frac58 ¦ 5/8
Write $28\%$ as a decimal. ¦ 0.28 ¦ 28\% ¦ 28 percent
Write $0.000032$ in scientific notation. ¦ 3.2\times10^{-5} ¦ 0.000032 ¦ .000032
Write $1\frac{3}{4}$ as an improper fraction. ¦ \frac{7}{4} ¦ 1\frac34 ¦ 1 3/4
Solve $2x+1>5$. ¦ x>2 ¦ 2x+1>5 ¦ 2x>4 ¦ 2x>5-1 ¦ x+\frac12>\frac52
Simplify $\frac{x^2-1}{x-1}$. ¦ x+1 ¦ \frac{x^2-1}{x-1} ¦ (x^2-1)(x-1)^{-1} ¦ \frac{1-x^2}{1-x}
Express $\frac{2}{6}$ in lowest terms. ¦ \frac13 ¦ \frac26 ¦ 2/6
"""

# A question, its gold, then right answers.
NO_ECHOES = r"""
Expand $(x+1)^5$. ¦ x^5+5x^4+10x^3+10x^2+5x+1 ¦ 1+5x+10x^2+10x^3+5x^4+x^5 ¦ x^5 + 5x^4 + 10x^3 + 10x^2 + 5x + 1
Factor $x^2-5x+6$. ¦ (x-2)(x-3) ¦ (x-3)(x-2) ¦ (3-x)(2-x)
Simplify $\sqrt{50}$. ¦ 5\sqrt{2} ¦ 5\cdot\sqrt2 ¦ \sqrt{2}\cdot5
Write $0.75$ as a common fraction. ¦ \frac{3}{4} ¦ \frac34 ¦ 3/4
Tom ate 0.75 of a pizza and Ann ate the same share of hers. What share did Ann eat? ¦ \frac{3}{4} ¦ 0.75 ¦ 3/4
Write the prime factorization of $360$. ¦ 2^3\cdot3^2\cdot5 ¦ 2^3\times3^2\times5 ¦ 5\cdot3^2\cdot2^3
What is $\frac{5}{8}$ as a percent? ¦ 62.5\% ¦ 62.5 ¦ 62.5 percent
Write $28\%$ as a decimal. ¦ 0.28 ¦ .28 ¦ 0.280
Write $0.000032$ in scientific notation. ¦ 3.2\times10^{-5} ¦ 3.2\cdot10^{-5}
Solve $2x+1>5$. ¦ x>2 ¦ (2,\infty) ¦ 2<x
Evaluate $\sqrt{16}+2$. ¦ 6 ¦ 6 ¦ 6.0
Express $\frac{2}{6}$ in lowest terms. ¦ \frac13 ¦ 1/3
The sides are $3$ and $4$. Express the hypotenuse. ¦ 5 ¦ 5 ¦ 5.0
Convert $5$ km to metres. ¦ 5000 ¦ 5000\text{ m}
Round $3.14159$ to two decimals. ¦ 3.14 ¦ 3.14
Express your answer as a common fraction. A coin lands heads with probability $0.5$ twice. ¦ \frac14 ¦ 0.25 ¦ 1/4
"""


@pytest.mark.every(2)
@pytest.mark.parametrize(("gold", "answer"), lines(FAIR))
def test_pays_fair_form(gold, answer):
    assert score(box(answer), solution=gold)[:2] == (1.0, "correct")


@pytest.mark.every(2)
@pytest.mark.parametrize(("gold", "answer"), lines(ATTACKS))
def test_does_not_pay_attack(gold, answer):
    assert score(box(answer), solution=gold).value == 0.0
    assert score(box(gold), solution=gold).value == 1.0


@pytest.mark.parametrize(("question", "gold", "answer"), lines(ECHOES, 2))
def test_question_in_another_form_is_no_answer(question, gold, answer):
    assert score(box(answer), solution=gold, prompt=question).value == 0.0


@pytest.mark.parametrize(("question", "gold", "answer"), lines(NO_ECHOES, 2))
def test_answer_beside_a_question_is_paid(question, gold, answer):
    assert score(box(answer), solution=gold, prompt=question).value == 1.0


def test_answer_may_group_digits_as_a_list_does():
    assert score(box("40,200"), solution="40, 200").value == 1.0
    assert score(box("40, 200"), solution="40200").value == 0.0


def test_names_before_boxes_keep_their_values():
    assert score(r"$x=\boxed{1}$, $y=\boxed{2}$", solution="(1,2)").value == 1.0
    assert score(r"$y=\boxed{1}$, $x=\boxed{2}$", solution="(1,2)").value == 0.0


def test_letter_of_the_question_is_no_free_parameter():
    gold, answer = "Ae^x", "C_1e^x"
    assert score(box(answer), solution=gold, prompt="Solve y' = y.").value == 1.0
    assert score(box(answer), solution=gold, prompt="Solve y' = y with y(0) = A.").value == 0.0
    assert score(box(answer), solution=gold, prompt=[{"role": "user", "content": "y(0) = A"}]).value == 0.0

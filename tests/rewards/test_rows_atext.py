"""Rows of an attacker: completions that the text rewards must not pay, each written from the contract alone."""

import pytest

from axolotl_grpo_plugin.rewards import countdown, format, gsm8k, math, puzzles, shaping
from tests.rewards.helpers import lines, tagged

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
GATED = shaping.gated(f"{GSM8K}.strict_format_reward_func", by=f"{GSM8K}.correctness_reward_func")
GRID = '{"header": ["House", "Pet"], "rows": [["1", "%s"], ["2", "%s"]]}'

# gold: answers that are not the gold
MATH = {
    # Work that is left to the reader
    "1": [r"\lim_{x\to 0}\frac{\sin x}{x}", r"\sin^2 1+\cos^2 1", r"3!-5", r"|{-1}|", r"-i^2"],
    "2": [r"17 \bmod 5", r"\log_{10} 100", r"\sqrt{4}", r"\sqrt[3]{8}", r"\{1+1\}"],
    "3": [r"\lfloor 3.7\rfloor", r"\lceil 2.1\rceil", r"\max(3,1)", r"\min\{3,7\}", r"\ln e^3"],
    "5": [r"2+3", r"e^{\ln 5}", r"\sqrt{3^2+4^2}", r"10\cdot\frac12", r"--5+0\cdot7"],
    "6": [r"\sum_{k=1}^{3}k", r"\prod_{k=1}^3 k", r"\gcd(12,18)", r"3!", r"\text{lcm}(2,3)"],
    "10": [r"\binom{5}{2}", r"{5\choose2}", r"C_5^2", r"0.5\times20", r"1e1"],
    "-2": [r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"],
    r"\frac{1}{2}": [r"\sin(\pi/6)", r"\cos 60^\circ", r"2^{-1}+0\cdot 3", r"\frac{1}{2x}", "2"],
    r"\frac{12}{5}": [r"\frac{3\cdot4}{5}", r"\frac{10+2}{5}", r"\frac{5}{12}", "12,5"],
    r"\frac{\pi^2}{6}": [r"\sum_{n=1}^{\infty}\frac{1}{n^2}", r"\zeta(2)", "1.6449340668482264"],
    "(3,3)": ["(1+2,3)", "(3)", "3,3,3"],
    "[0,6]": [r"[0,2\cdot3]", "[0,6)", "(0,6)", "[6,0]", r"0<x\le6", r"0\le x", r"x\le6", r"\{0,6\}"],
    "x^3": ["x^{2+1}", "x^2", "3x", r"|x|^3", r"\sqrt{x^6}"],
    "408": [r"12\times34\text{ cm}", r"x=12\cdot34", r"\text{12 times 34}", r"34(12)", r"4\cdot102"],
    # Equal at some points only
    "x": [r"|x|", r"\sqrt{x^2}", r"(x^2)^{1/2}", r"\max(x,0)", r"\lfloor x\rfloor", "x^1+10^{-9}"],
    "x+1": [r"\sqrt{x^2+2x+1}", r"|x+1|", r"x+1+\sin(\pi x)", "x+1+x(x-1)(x-2)(x-3)", "y+1"],
    "0": [r"\sin(\pi x)", "x(x-1)(x-2)", r"\emptyset", r"10^{-999999999}", r"\frac{0}{0}", r"\text{none}"],
    r"\emptyset": ["0", r"\{0\}", r"\{\emptyset\}", r"\mathbb{R}"],
    r"y=2x+1": ["0=0", "y=y", "y=2x-1", "(y-2x-1)(y-5)=0", "y^2=(2x+1)^2", "y(y-2x-1)=0"],
    r"x^2+y^2=4": ["x^2+y^2=2", "x^2-y^2=4", "x^2+y^2", "4"],
    r"\frac{x^3}{3}+C": [r"\frac{x^3}{3}", r"\frac{x^3}{3}+1", "C"],
    r"\sqrt{2}x": [r"\sqrt{2x}", r"1.41421356237x", r"\sqrt{2}"],
    # Nearly equal numbers
    r"\pi": ["3.14", r"\frac{22}{7}", "3.14159265358979323846264338327950288", r"\frac{355}{113}"],
    r"\sqrt{2}": ["1.414", r"1.4142135623730950488016887242097", r"\sqrt{2}(1+10^{-60})", r"\pm\sqrt{2}"],
    r"\frac{1}{3}": ["0.333", "0." + "3" * 40, r"33\%", "1,3", "3", "0.3"],
    r"2^{1000}": ["2^{1000}+1", r"2^{1000}-10^{-9}", "2^{999}", "1000^2"],
    "262537412640768744": [r"e^{\pi\sqrt{163}}", "262537412640768743.99999999999925"],
    # Scales
    "0.5": ["50", r"0.5\%", r"5000\%", r"0.005", "0,5,0", r".5\%", r"5\%"],
    r"28\%": [r"0.28\%", r"2800\%", "2800", "2.8", "0.0028"],
    "28": [r"0.28\%", "0.28", r"280\text{ percent}"],
    "1.8": ["1,8", "18", r"1\frac{8}{1}", "1.8.0"],
    "10100": ["10, 100", "10,1,00", "101,00"],
    # Names, sets, orders
    "x=2,y=3": ["x=3,y=2", "(3,2)", "x=2", "3", "x=2,y=3,z=4"],
    "(1,2)": ["(2,1)", "[1,2]", "[1,2)", "(1,2]", "12", "(1;3)", "(1,2,0)", r"1\le x<2"],
    "1,2": ["1", "1,2,3", "1,-2", "12", "1.2", r"\pm1,2"],
    r"\{1,2\}": [r"\{1\}", r"\{1,2,3\}", r"\{1,\{2\}\}", r"\{x\mid 1\le x\le2\}"],
    r"\{1,2\},\{3,4\}": ["1,2,3,4", r"\{1,3\},\{2,4\}", r"\{1,2,3,4\}", r"\{1,2\}"],
    r"\{\{1\},\{2\}\}": [r"\{1,2\}", r"\{\{1,2\}\}", "1,2"],
    r"(-\infty,3)": [r"(-\infty,3]", "x>3", r"(3,\infty)", r"(-\infty,-3)", "3", r"x\ne3"],
    r"\pm3": ["3", "-3", "9", r"\{3\}", r"|3|"],
    "(1,2),(3,4)": ["(1,4),(3,2)", "(1,2)", "(1,2,3,4)", "1,2,3,4"],
    r"\mathbb{R}\setminus\{0\}": [r"\mathbb{R}", r"(0,\infty)", r"\{0\}", "x=0"],
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}": [
        r"\begin{pmatrix}1&3\\2&4\end{pmatrix}",
        r"\begin{vmatrix}1&2\\3&4\end{vmatrix}",
        r"\begin{pmatrix}1&2&3&4\end{pmatrix}",
        "1,2,3,4",
    ],
    "1011_2": ["1011_3", "1101_2"],
    "x_1": ["x_2", "x1+0x", "x"],
    r"-\infty": [r"\infty", r"\pm\infty", "-999999999"],
    "3:30 PM": ["3:30 AM", "3:03 PM", "3"],
    "1:2": ["2:1", "1", "2"],
    r"\text{yes}": [r"\text{no}", r"\text{yes or no}", r"\text{not yes}", r"\text{yes, no}", "y"],
    r"\text{odd}": [r"\text{even}", r"\text{not odd}", r"\text{odd and even}", "o"],
    "C": ["A,B,C,D", "ABCDE", r"\text{A or C}", r"\text{not C}", "(A),(C)", r"\text{C?D}"],
    # Several answers, words around a number, other digits
    "18": [
        r"17 \text{ or } 18",
        "17,18",
        r"18\text{ (not 17)}",
        "17<18",
        r"17\to18",
        r"17\\18",
        r"\begin{cases}17\\18\end{cases}",
        r"18 \pm 1",
        "18+C",
        "17=18",
        r"18\neq17",
        r"x\ge18",
        ">17",
        "18!",
        "1 8",
        "1_8",
        "1'8",
        "١٨",
        "⑱",
        "𝟏𝟖",
        "18²",
        r"\text{negative }18",
        r"\text{minus }18",
        r"\text{not }18",
        r"\text{less than }18",
        r"\text{at least }18",
        r"\text{twice }18",
        r"\text{half of }18",
        r"18\text{ or more}",
        r"18\text{ and a half}",
        r"18\text{ dozen}",
        r"18\text{ thousand}",
        r"18\text{ million}",
        r"18\text{ squared}",
        r"18\text{ factorial}",
        r"18\text{ over }7",
        r"18\text{ to }20",
        r"18\text{ below zero}",
        "18k",
        "18–20",
        r"\boxed{18},17",
        r"17\ (18)",
        r"\frac{18}{-1}",
        r"\sqrt{-18^2}",
        r"\text{eighteen or nineteen}",
        r"\text{the answer}",
        "...",
        "?",
        "",
        "x",
        "18.0000000000000000000000000000000000001",
        "9^{9^9}",
        "10^{10^{10}}",
        "99999999!",
        r"\binom{10^9}{5\cdot10^8}",
        r"\int_0^{18}1\,dx",
        r"18^{x-x}\cdot17",
    ],
}

# question, gold: the question's expression in disguise
ECHOES = {
    (r"Simplify $\sqrt{50}$.", r"5\sqrt{2}"): [
        r"\sqrt{50}",
        r"\sqrt{50}+0",
        r"0+\sqrt{50}",
        r"\sqrt{50}-0",
        r"1\cdot\sqrt{50}",
        r"\sqrt{50.0}",
        r"\sqrt[2]{50}",
        r"\frac{\sqrt{50}}{1}",
        r"(50)^{1/2}",
        r"50^{0.5}",
        r"-(-\sqrt{50})",
        r"\left({\sqrt{{50}}}\right)^1",
        r"x=\sqrt{50}",
        r"\sqrt{50}\text{ cm}",
        r"\sqrt{25\cdot2}",
        r"\sqrt{50}\cdot\frac{2}{2}",
        r"\sqrt{+50}",
        r"+\sqrt{50}",
    ],
    (r"Expand $(x+1)(x+2)$.", "x^2+3x+2"): [
        "(x+1)(x+2)",
        r"(2+x)\cdot(1+x)",
        "(x+1)(x+2)+0",
        "1(x+1)(x+2)",
        "(x+1)^1(x+2)",
        "(x+1.0)(x+2)",
        "f(x)=(x+1)(x+2)",
        "(1x+1)(x+2)",
        "(x+1+0)(x+2)",
        "((x+1))((x+2))",
        r"\left(x+1\right)\times\left(x+2\right)",
        r"\frac{(x+1)(x+2)}{1}",
        "(x+1)(x+2)-0x",
    ],
    (r"Factor $x^2-5x+6$.", "(x-2)(x-3)"): [
        "x^2-5x+6",
        "6-5x+x^2",
        "x^2+(-5)x+6",
        r"x\cdot x-5x+6",
        "x^{2.0}-5x+6",
        "x^2-5x^1+6",
        "x^2-x5+6",
        "6+x^2-5x",
        "-5x+x^2+6",
        "-(-x^2)-5x+6",
    ],
    (r"What is $36/2$?", "18"): [
        "36/2",
        r"\frac{36}{2}",
        r"\dfrac{36}{2}+0",
        r"\frac{36.0}{2.0}",
        r"\frac{36}{2}\text{ apples}",
        r"36\div2",
        r"\frac{2\cdot18}{2}",
        r"x=\frac{36}{2}",
    ],
    (r"Rationalize $\frac{1}{\sqrt{2}}$.", r"\frac{\sqrt{2}}{2}"): [
        r"\frac{1}{\sqrt{2}}",
        r"1/\sqrt2",
        r"\frac{1}{2^{1/2}}",
        r"\frac{1.0}{\sqrt{2}}",
    ],
    (r"Solve $x^2=4$.", r"\pm2"): ["x^2=4", "4=x^2", "x=x"],
    (r"Solve $2x+1>5$.", "x>2"): ["2x+1>5", "5<2x+1", "1+2x>5.0", "x>3"],
    (r"Solve 2x+1 >= 5 for x.", r"x\ge2"): [r"2x+1\geq5", r"5\le2x+1", r"2x+1\ge5+0"],
    (r"Solve $x^2<1$.", "(-1,1)"): ["x^2<1", "1>x^2"],
    (r"Write $3x+2y=6$ in slope form.", r"y=-\frac{3}{2}x+3"): ["3x+2y=6", "6=2y+3x", "1(3x+2y)=6"],
    (r"Complete the square of $x^2-2x+y^2=3$.", "(x-1)^2+y^2=4"): ["x^2-2x+y^2=3", "3=-2x+y^2+x^2", "x^2-2x+y^2-3=0"],
    (r"Find $\log_2 16$.", "4"): [r"\log_2 16", r"\log_{2}{16}", r"\log_2(16)+0"],
    (r"Write $2\cdot2^n$ as a power.", "2^{n+1}"): [r"2\cdot2^n", r"2^n\cdot2", r"2(2^n)", r"2^n2"],
}

# a gold, then answers that are not the gold
MORE_MATH = r"""
77 ¦ --77 ¦ -(-77)
\frac{5}{6} ¦ \frac12+\frac13
\frac56 ¦ 1-\frac16 ¦ \frac{2+3}{6} ¦ \frac{5}{2\cdot3} ¦ \frac{5}{3!} ¦ 5\cdot\frac16 ¦ \frac{5}{6}+0
\frac16 ¦ \frac12\cdot\frac13 ¦ \frac12-\frac13 ¦ \left(\frac12\right)\left(\frac13\right)
\frac{1}{32} ¦ \left(\frac12\right)^5 ¦ 2^{-5}
\frac{3}{10} ¦ \frac{\binom31}{10}
7x ¦ 3x+4x ¦ (3+4)x
7x+5 ¦ 7x+2+3
6x^2 ¦ 2x\cdot3x
x^5 ¦ x^{2+3}
x^6 ¦ x^{2\cdot3}
5\sqrt2 ¦ 2\sqrt2+3\sqrt2 ¦ (2+3)\sqrt2
4\pi ¦ 2\cdot2\pi ¦ \pi\cdot2^2 ¦ \pi+3\pi
\frac{\pi}{2} ¦ \pi-\frac{\pi}{2}
3+4i ¦ 1+2+4i
x+2 ¦ x+\sqrt4 ¦ x+1+1
(4,6) ¦ (2+2,6) ¦ (2\cdot2,6)
[4,6] ¦ [2+2,6]
\{4,6\} ¦ \{2^2,6\}
4,6 ¦ 2^2,6
x=4,y=6 ¦ x=2+2,y=6
x>4 ¦ x>2+2 ¦ x>4.0001
\begin{pmatrix}4\\6\end{pmatrix} ¦ \begin{pmatrix}2\cdot2\\6\end{pmatrix}
y=6x+1 ¦ y=2\cdot3x+1
20\% ¦ (4\cdot5)\%
\$12 ¦ \$3\cdot4
e^5 ¦ e^{2+3}
\ln 6 ¦ \ln(2\cdot3)
\sqrt6 ¦ \sqrt{2\cdot3}
\frac{\sqrt2}{2} ¦ \cos45^\circ ¦ \sin\frac{\pi}{4}
\frac{\pi}{4} ¦ \arctan 1 ¦ 0.785
\frac{\pi}{6} ¦ \arcsin\frac12
2 ¦ \log_3 9
60 ¦ \frac{5!}{2!}
115 ¦ 77_8x
0.5 ¦ 0.5\% ¦ 500\%
0.25 ¦ 0.25\%
25\% ¦ 2.5\% ¦ 2.5 ¦ 2500
0.1\% ¦ 10 ¦ 10\%
\frac14 ¦ 0.25\%
3 ¦ 300
75\% ¦ \frac14 ¦ 7.5 ¦ 0.075 ¦ 0.75\%
0.75 ¦ \frac{3}{4}\% ¦ 0.75\% ¦ 7.5\% ¦ 750\%
12.5\% ¦ 1.25
\frac13 ¦ 0.33 ¦ 0.\overline{33}4
\frac23 ¦ 0.667
\sqrt3 ¦ 1.732
e ¦ 2.718
\pi ¦ 3.1416 ¦ \approx3.14
\ln2 ¦ 0.693
\{1,2\} ¦ 1 ¦ \{1,2,3\} ¦ (1,3) ¦ \{1\},\{2\} ¦ 1\le x\le2 ¦ [1,2]
[1,2] ¦ \{1,2\} ¦ 1,2 ¦ [2,1] ¦ [1,3]
(1,2) ¦ \{1,2\} ¦ 2,1 ¦ y=1,x=2
[2,\infty) ¦ x>2 ¦ (-\infty,2]
x\ge2 ¦ x\le2 ¦ 2
x>2 ¦ x\ge2
(-2,2) ¦ |x|>2 ¦ |x|\le2 ¦ x<2
(-\infty,-2)\cup(2,\infty) ¦ (-2,2) ¦ x>2 ¦ (-\infty,-2]\cup[2,\infty)
x\ne1 ¦ x=1 ¦ \mathbb{R}
\mathbb{R}\setminus\{1\} ¦ 1
\mathbb{R} ¦ \mathbb{Z} ¦ \mathbb{C} ¦ \text{all integers} ¦ (0,\infty)
\emptyset ¦ \text{infinitely many solutions} ¦ \{0\}
\text{no solution} ¦ \text{one solution} ¦ 0
\text{no real solutions} ¦ \mathbb{R}
(0,1)\cup(1,2) ¦ (0,2)
k>3 ¦ k<3 ¦ k\ge3 ¦ 3>k
(3,4) ¦ (4,3) ¦ x=4,y=3 ¦ 3 ¦ 7 ¦ (3,4),(4,3) ¦ (3,4,5) ¦ \frac34 ¦ 3.4
x=3,y=4 ¦ y=3,x=4 ¦ (4,3) ¦ x=3 ¦ x+y=7
a=1,b=2,c=3 ¦ (3,2,1) ¦ a=1,b=2 ¦ a=1,b=3,c=2
(1,2),(2,3) ¦ (1,3),(2,2) ¦ (2,1),(3,2)
x=2 ¦ y=3
y=2x ¦ y=2x+0.0001 ¦ x=2y
y=2x+1 ¦ 2x+1=0 ¦ 2y=2x+1
x^2+y^2=9 ¦ x^2+y^2=3 ¦ x+y=3
3x+1 ¦ 3x-1 ¦ 3y+1 ¦ 4
f(x)=3x+1 ¦ f(x)=3x
\frac{x^2}{2}+C ¦ \frac{x^2}{2}
x_1=1,x_2=2 ¦ 1
2:3 ¦ 3:2 ¦ 2
2:3:4 ¦ 2:3
4:15 ¦ 4:51
4:15 PM ¦ 4:15 AM ¦ 16
A ¦ B ¦ A or B ¦ A,B ¦ (A),(B) ¦ not A ¦ \text{A or B} ¦ \text{neither A nor B} ¦ AB ¦ \text{Option B}
A ¦ \text{Option A or B}
A,C ¦ A ¦ A,B,C
\text{Yes} ¦ No ¦ \text{Yes, no}
true ¦ false ¦ not false or true
\text{True} ¦ 1 ¦ \text{True or False} ¦ T and F
\text{Tuesday} ¦ Thursday ¦ \text{Tuesday or Thursday}
\text{Monday and Friday} ¦ \text{Monday} ¦ \text{Monday or Friday or Sunday}
\text{red} ¦ \text{not red} ¦ \text{reddish}
\sqrt{x^2} ¦ x
\ln x^2 ¦ 2\ln y
\sin x ¦ \cos x
\sin 2x ¦ 2\sin x
x^{n+1} ¦ x^n+1
2\cdot2^n ¦ 2^n ¦ 4^n
|x| ¦ -x
n! ¦ n
\binom{n}{2} ¦ \frac{n}{2}
e^{x+y} ¦ e^x+e^y
\log_3 5 ¦ \log_5 3
\sqrt{a+b} ¦ \sqrt a+\sqrt b
(a+b)^2 ¦ a^2+b^2
\frac{1}{a+b} ¦ \frac1a+\frac1b
ab ¦ ba^2
x_1 ¦ x_{11}
a_n ¦ a_{n+1}
f(x) ¦ f(y)
\alpha ¦ \beta
x ¦ X
i ¦ -i
\sqrt{-1} ¦ 1
x^2+x ¦ x^2+x+10^{-12}
\begin{pmatrix}1\\2\end{pmatrix} ¦ \begin{pmatrix}2\\1\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} ¦ \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} ¦ 1 ¦ I
1011_2 ¦ 11 ¦ 1011_{10}
10,100 ¦ 10
1234 ¦ 1,2,3,4 ¦ 12,34 ¦ 1.234
0.001 ¦ 1
-5 ¦ 5
5 ¦ |-5| ¦ \pm5
\pm5 ¦ 5 ¦ -5
0 ¦ \infty ¦ \frac{1}{\infty} ¦ \text{zero or one}
\infty ¦ 10^{100}
\frac{1}{0} ¦ \infty
\text{undefined} ¦ 0 ¦ \infty
\mathbb{R}\setminus\{0,3\} ¦ x\ne0 ¦ \{0,3\} ¦ 0,3 ¦ (0,3) ¦ (-\infty,0)\cup(3,\infty) ¦ \mathbb{R}\setminus\{0,4\}
\mathbb{R}\setminus\{0,3\} ¦ \mathbb{R}\setminus\{0\}
(-\infty,0)\cup(0,3)\cup(3,\infty) ¦ (-\infty,0)\cup(0,\infty)
\mathbb{R}\setminus\{0\} ¦ \mathbb{R}
(-1,4) ¦ x>-1 ¦ x<4 ¦ x>-1\text{ or }x<4
(-\infty,-1]\cup[4,\infty) ¦ [-1,4] ¦ x\ge4
(2,3)\cup\{5\} ¦ (2,3)
[-1,4] ¦ -1<x<4 ¦ [4,-1]
[3,\infty) ¦ \{x|x>3\}
\{3\} ¦ \{3,3.5\}
\{1,2,3\} ¦ \{1,2\}\cup\{4\} ¦ [1,3] ¦ 1<x<3
p=3,q=1;p=4,q=2 ¦ p=3,q=2;p=4,q=1 ¦ (1,3),(2,4) ¦ (3,1)
p=3,q=1 ¦ p=1,q=3 ¦ q=3,p=1 ¦ 3
(0,1),(1,0) ¦ (0,0),(1,1) ¦ x=0,y=1
0.05 ¦ 0.05\% ¦ 50\%
\frac{1}{20} ¦ \frac{1}{20}\%
0.9 ¦ .9\%
6.25\% ¦ 62.5
2^{n+1} ¦ 2^n\cdot3
5^{n+2} ¦ 5^n+25
72 ¦ 72**1
16 ¦ 2**4
8 ¦ 4**2
2x ¦ x**2
x^2 ¦ 2**x
\sqrt{72} ¦ \sqrt{8\cdot9} ¦ \sqrt{70+2}
3.5 ¦ \frac{3+4}{2} ¦ 3+\frac12 ¦ 3+0.5
3\frac12 ¦ 3+\frac12
\frac72 ¦ 3+\frac12
\frac34 ¦ \frac12+\frac14 ¦ 1-\frac14 ¦ 3\cdot\frac14 ¦ \frac{1+2}{4} ¦ \frac{3}{2^2} ¦ 3\cdot4^{-1} ¦ 3/(4\cdot1)
\frac34 ¦ \left(\frac{\sqrt3}{2}\right)^2 ¦ \sin^2 60^\circ
9x ¦ 4x+5x ¦ 9\cdot x\cdot1 ¦ 3\cdot3x
x^4 ¦ x^{2+2} ¦ x^{2\cdot2}
9x+1 ¦ 9x+3-2
\frac{x}{2} ¦ \frac{2x}{2\cdot2}
7\sqrt3 ¦ 3\sqrt3+4\sqrt3 ¦ (3+4)\sqrt3
\frac{\pi}{3} ¦ \arccos\frac12 ¦ \frac{\pi}{6}+\frac{\pi}{6}
e^6 ¦ e^{2\cdot3} ¦ e^2e^4
\ln72 ¦ \ln(8\cdot9)
3+5i ¦ 1+2+5i ¦ 3+(2+3)i
(2,9) ¦ (2,3^2) ¦ (2,4+5)
\{2,9\} ¦ \{2,3\cdot3\}
x=2,y=9 ¦ x=1+1,y=9
(2,9] ¦ (2,3^2]
y=9x+2 ¦ y=9x+1+1
\begin{pmatrix}2&9\end{pmatrix} ¦ \begin{pmatrix}2&3^2\end{pmatrix}
9:2 ¦ (4+5):2
90\% ¦ (80+10)\%
\$90 ¦ \$80+10
90\text{ cm} ¦ 9\cdot10\text{ cm}
90^\circ ¦ 45^\circ+45^\circ ¦ 180^\circ-90^\circ
E ¦ A, E ¦ A/E ¦ A or E ¦ AE ¦ (A)(E) ¦ \text{not E} ¦ e^1 ¦ A B C D E
B,D ¦ B ¦ A,B,C,D ¦ B,C
5:2 ¦ 2:5
3:45 ¦ 45:3
3:45\text{ p.m.} ¦ 3:45 a.m.
\text{Option A} ¦ \text{Option B}
x>1,y>2 ¦ x>2,y>1
0<x<1,2<y<3 ¦ 0<y<1,2<x<3
x>1,y<2 ¦ (1,2)
x\ne2,y\ne3 ¦ x\ne3,y\ne2
15 ¦ 15\text{ dozen}/\text{box} ¦ 15\text{ tens}\text{ cm}
"""

# a question, its gold, then disguises of the question's expression
MORE_ECHOES = r"""
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ (2x-1)(x+4) ¦ (x+4)(2x-1) ¦ (2x-1)(x+4)-0 ¦ (2x-1)(4+x) ¦ (-1+2x)(x+4)
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ -(1-2x)(x+4) ¦ 1*(2x-1)*(x+4) ¦ \frac{(2x-1)(x+4)}{1} ¦ ((2x-1)(x+4))^1
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ (2x-1)(x+4)^1 ¦ \left(2x-1\right)\cdot\left(x+4\right) ¦ (2x-1.0)(x+4.00)
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ (2.0x-1)(x+4) ¦ y=(2x-1)(x+4) ¦ (2x-1)(x+4)+0x ¦ (2x+(-1))(x+4) ¦ (x2-1)(x+4)
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ (2\cdot x-1)(x+4) ¦ (1-2x)(-x-4) ¦ [2x-1][x+4] ¦ \{(2x-1)(x+4)\}
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ (2x-1)(x+4)\text{ units} ¦ (2x-1)\times(x+4) ¦ (2x-1)*(x+4) ¦ (2x^1-1)(x+4)
Expand $(2x-1)(x+4)$. ¦ 2x^2+7x-4 ¦ 0.0+(2x-1)(x+4) ¦ (2x-1)(x+4)\cdot1.0 ¦ (2x-1)(x+4)(1) ¦ \sqrt{((2x-1)(x+4))^2}
Factor $x^2+7x+12$. ¦ (x+3)(x+4) ¦ x^2+7x+12 ¦ 12+7x+x^2 ¦ 7x+x^2+12 ¦ x^2+7x+12+0 ¦ 1(x^2+7x+12) ¦ x^2+7x^1+12
Factor $x^2+7x+12$. ¦ (x+3)(x+4) ¦ x^2+7x+12x^0 ¦ x^2+7x+12.0 ¦ x^{2}+x7+12 ¦ (x^2)+(7x)+(12) ¦ \frac{x^2+7x+12}{1}
Factor $x^2+7x+12$. ¦ (x+3)(x+4) ¦ x^2-(-7x)+12 ¦ -(-x^2-7x-12) ¦ x\cdot x+7x+12 ¦ x^2+7\cdot x+12 ¦ x(x)+7x+12
Factor $x^2+7x+12$. ¦ (x+3)(x+4) ¦ xx+7x+12 ¦ x^2 + 7x + 12 = 0 ¦ p(x)=x^2+7x+12
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ \sqrt{72} ¦ 72^{1/2} ¦ 72^{\frac12} ¦ 72^{0.5} ¦ \sqrt{72}\cdot1 ¦ \sqrt{72}+0
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ \sqrt{72.0} ¦ \sqrt[2]{72} ¦ -(-\sqrt{72}) ¦ x=\sqrt{72} ¦ \sqrt{(72)} ¦ \sqrt{072}
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ \sqrt{72}^1 ¦ \sqrt{72+0} ¦ \sqrt{1\cdot72} ¦ \{\sqrt{72}\} ¦ |\sqrt{72}| ¦ √72
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ sqrt(72) ¦ \sqrt{72}\text{ cm} ¦ \sqrt{\frac{72}{1}} ¦ \sqrt{36\cdot2}
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ \sqrt{36}\sqrt2 ¦ \sqrt{8\cdot9}
Compute $7^3$. ¦ 343 ¦ 7^3 ¦ 7\cdot7\cdot7 ¦ 7\cdot49 ¦ 7^{3} ¦ 7^3+0 ¦ 7\cdot7^2 ¦ 7*7*7 ¦ \frac{7^3}{1}
Compute 123 + 456. ¦ 579 ¦ 123+456 ¦ 456+123 ¦ (123)+(456) ¦ 123+456+0 ¦ 123.0+456.0 ¦ 123-(-456)
Simplify $\frac{84}{126}$. ¦ \frac23 ¦ \frac{84}{126} ¦ 84/126 ¦ \dfrac{84}{126} ¦ \frac{84.0}{126} ¦ 84\div126
Simplify $\frac{84}{126}$. ¦ \frac23 ¦ \frac{84}{126}+0 ¦ 1\cdot\frac{84}{126} ¦ 84\cdot\frac{1}{126}
Simplify $\frac{84}{126}$. ¦ \frac23 ¦ 84\cdot126^{-1} ¦ -\frac{-84}{126} ¦ \frac{-84}{-126} ¦ 84:126
Simplify $\frac{84}{126}$. ¦ \frac23 ¦ x=\frac{84}{126} ¦ \frac{84}{126}\text{ m} ¦ (84)/(126) ¦ \{\frac{84}{126}\}
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ \frac{4}{\sqrt6} ¦ 4/\sqrt6 ¦ 4\cdot6^{-1/2}
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ 4\cdot\frac{1}{\sqrt6} ¦ \frac{4}{6^{1/2}}
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ \frac{4}{6^{0.5}} ¦ \frac{4.0}{\sqrt{6}}
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ \frac{4}{\sqrt{6}}+0 ¦ 4(\sqrt6)^{-1}
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ \frac{4}{\sqrt[2]{6}} ¦ 4\div\sqrt6
Rationalize the denominator of $\frac{4}{\sqrt6}$. ¦ \frac{2\sqrt6}{3} ¦ -\frac{-4}{\sqrt6}
Simplify $\sin x\cos x+\sin x\cos x$. ¦ \sin 2x ¦ \sin x\cos x+\sin x\cos x ¦ \cos x\sin x+\sin x\cos x
Simplify $\sin x\cos x+\sin x\cos x$. ¦ \sin 2x ¦ \sin(x)\cos(x)+\cos(x)\sin(x)
Write $\log 5+\log x$ as a single logarithm. ¦ \log 5x ¦ \log5+\log x ¦ \log x+\log 5 ¦ \log(x)+\log(5)
Write $\log 5+\log x$ as a single logarithm. ¦ \log 5x ¦ \log x+\log5+0 ¦ \log_{10}5+\log_{10}x
Solve $x^2-9>0$. ¦ (-\infty,-3)\cup(3,\infty) ¦ x^2-9>0 ¦ 0<x^2-9 ¦ -9+x^2>0 ¦ x^2-9>0+0
Solve $|x-1|<2$. ¦ (-1,3) ¦ |x-1|<2 ¦ 2>|x-1| ¦ |-1+x|<2 ¦ \left|x-1\right|<2 ¦ \{x:|x-1|<2\} ¦ |x-1|<2.0
Solve the system $x+y=5$, $x-y=1$. ¦ (3,2) ¦ x+y=5,x-y=1 ¦ x+y=5 ¦ x-y=1,y+x=5
Solve $3x=12$. ¦ 4 ¦ 3x=12 ¦ 3x=12+0
Evaluate $\log_2 32$. ¦ 5 ¦ \log_2 32 ¦ \log_2(32) ¦ \log_{2}{32}+0 ¦ \frac{\ln32}{\ln2}
Find $\binom{6}{3}$. ¦ 20 ¦ \binom63 ¦ \binom{6}{3} ¦ {6\choose3}
What is $3/8$ as a decimal? ¦ 0.375 ¦ 3/8 ¦ \frac38 ¦ \frac{3}{8}+0 ¦ 3\div8
Express 0.375 as a common fraction. ¦ \frac38 ¦ 0.375+0 ¦ 0.375\cdot1
Convert $25\%$ to a fraction. ¦ \frac14 ¦ 25\text{ percent}
Write $1.5\times10^4$ in standard notation. ¦ 15000 ¦ 1.5\times10^4 ¦ 1.5\cdot10^4
Write $2\frac{3}{5}$ as an improper fraction. ¦ \frac{13}{5} ¦ 2+\frac35
Simplify $\frac{x^2-1}{x-1}$. ¦ x+1 ¦ \frac{x^2-1}{x-1} ¦ (x^2-1)/(x-1) ¦ \frac{-1+x^2}{-1+x} ¦ \frac{x^2-1}{x-1}+0
Simplify $\frac{x^2-1}{x-1}$. ¦ x+1 ¦ (x^2-1)(x-1)^{-1} ¦ (x^2-1)\cdot\frac{1}{x-1} ¦ \frac{1-x^2}{1-x}
Simplify $a^3\cdot a^4$. ¦ a^7 ¦ a^3\cdot a^4 ¦ a^4a^3 ¦ a^3a^4 ¦ a^{3+4}
Simplify $3x+5x$. ¦ 8x ¦ 3x+5x ¦ 5x+3x ¦ (3+5)x ¦ 3x+5x+0
"""

# whole completions for the gold 18
MATH_TEXTS = [
    "18",
    "The answer is 18.",
    "$18$",
    "**18**",
    r"\boxed{17} \boxed{18}",
    r"First \boxed{17}. Then \boxed{18}.",
    r"\boxed{1}\boxed{8}",
    r"<answer>17</answer> so \boxed{18}",
    "<answer>17</answer>\n#### 18",
    "\\boxed{17}\n#### 18",
    r"<think>\boxed{18}</think>",
    r"<think>\boxed{18}</think>\boxed{17}",
    r"<think>It is \boxed{18}",
    r"<think>a</think><think>\boxed{18}",
    "<answer>18",
    r"<answer>\boxed{18}",
    r"\boxed{18",
    r"\boxed{17 \boxed{18}}",
    r"\boxed{17\boxed{18}17}",
    "#### 17\n#### 18",
    "#### 18 #### 17",
    "<answer>18</answer><answer>17</answer>",
    "<answer><answer>18</answer></answer>",
    r"<answer>\boxed{17} or \boxed{18}</answer>",
    "<answer>18 17</answer>",
    "<answer>17, so 18</answer>",
    "<answer>The answer is not 18</answer>",
    "<answer>18 is wrong</answer>",
    r"<!-- \boxed{18} -->\boxed{17}",
    r"\boxed{} \boxed{17} \boxed{18}",
    r"\fbox{17} \boxed{18} \fbox{17} \boxed{19}",
    "\\boxed{" + "(" * 20000 + "18" + ")" * 20000 + "+1}",
    "\\boxed{" + "\\sqrt{" * 5000 + "18" + "}" * 5000 + "}",
    "\\boxed{" + "\\frac{1}{" * 5000 + "18" + "}" * 5000 + "}",
    "\\boxed{" + "+".join(["1"] * 18) + "}",
    "\\boxed{18" + "0" * 300000 + "}",
    "\\boxed{17." + "9" * 300000 + "}",
    "\\boxed{" * 20000 + "17",
    "".join(f"\\boxed{{{number}}}" for number in range(3000)),
    "\\boxed{" + ",".join(map(str, range(3000))) + "}",
]

# golds that cannot be read: nobody is paid
UNREADABLE_GOLDS = ["The proof is left to the reader", "", "not found"]

# answers within the tags for the gold 18, all without correctness
GSM8K_WRONG = """
    18 tens|18 dozens|18 thousand|18 million|18 billion|18 trillion|18 squared|18 cubed|18 tripled
    18 halved|18 thirds|18 tenths|18 hundredths|18 and a half|18 or more|18 plus two
    18 minus one|18 below zero|18 factorial|18 or seventeen|18 point five|18 divided by two
    18 over two|18 is wrong|not 18|18 not|18K|18bn|18e0|18x|18!|18²|1.8e1|0x12|0b10010|XVIII|eighteen
    ١٨|१८|⑱|𝟏𝟖|1 8|1,8|18,00|1,8000|--18|$€18|18/1|36/2|9+9|9*2|9 * 2 = 18|(9*2)|18-0
    \\boxed{17}18|\\boxed{18|18}|$18$$18$|18 = x|x = y = 18|x = 17 = 18|18 = 18
    x != 18|x > 18|x < 18|>18|<18|≥18|~17 18|2x = 18|x/2 = 18|x^2 = 18|-x = 18|1/x = 18|17 or 18
    17 18|18 17|18;17|18 (17)|18 [17]|<b>17</b>18|18 <!-- 17 -->|18 # 17|18-17|18..17|18:00|18:30
    18.0.0|18,000|.18|0.18|18 per 2|17.999999999999999999999999999999|18 x 1|18 of 20|18 out of 20
    18.000000000000000000000000000000000001|18 or so, maybe 19|...|NaN|inf|18n|18j|18_|1_8|18 % 20
    1\u200b8|18\u066c|\\frac{36}{2}|\\text{18 or 17}|#### 18|minus 18|negative 18|18 negative|18 lakh
    18 percent of 50|18 multiplied by 2|18 twice|18 doubled|18 millions|18 hundreds
    18th|18 approximately|18 percent more|18 less|18 negated|18 siebzehn|18万|18倍|18多|18 tausend|18 mille|18 Millionen
    18 millionth|18 hundredth|18/dozen|18/x|18 twenties|18 gross|18 less than x|18 fewer than twenty|18 millionths|18 mod 5
"""

# whole completions for the gold 18, all without correctness
GSM8K_TEXTS = [
    "18",
    r"\boxed{18}",
    "#### 18",
    "<answer>18",
    "18</answer>",
    "</answer>18<answer>",
    "<answer>18<answer>",
    "<answer>18</answer><answer>17</answer>",
    "<answer><answer>18</answer></answer>",
    "<answer>18</answer></answer>",
    "<answer>\n</answer>",
    "<ANSWER>18</ANSWER>",
    "< answer>18</answer>",
    "&lt;answer&gt;18&lt;/answer&gt;",
    "＜answer＞18＜/answer＞",
    "<answer>18</answer><answer></answer>",
    "<answer>18\n17</answer>",
    "<answer>18" + "0" * 500000 + "</answer>",
    "<answer>" + "<answer>" * 100000 + "</answer>",
    "<answer>18" + " not" * 50000 + " 17</answer>",
    "<answer>" + "$" * 50000 + "18</answer>",
    "<answer>" + "1," * 50000 + "18</answer>",
]

NOT_AN_INTEGER = """
    18.0|+18|1,800|$18|\\boxed{18}|１８|١٨|⁸|²|-|--18|- 18|1_8|1 8|18 apples|0x12|1e3|18.|**18**|18-|x
    $18$|eighteen|٣|18 18|(18)|18!|"18"|18%|½|Ⅷ|-１
"""

NO_STRICT_LAYOUT = [
    "So: " + tagged("18"),
    tagged("18") + "\nDone.",
    tagged("18") + tagged("18"),
    tagged("18") + "\n<answer>\n18\n</answer>",
    tagged("18", reasoning="<answer>\n18\n</answer>"),
    tagged("18", reasoning="<reasoning>\na\n</reasoning>"),
    tagged("18", reasoning="..."),
    tagged("...", reasoning="..."),
    tagged("..."),
    tagged("18", reasoning=""),
    tagged("18", reasoning=" \t\n "),
    tagged("18", reasoning="\u00a0\u2003"),
    tagged("18", reasoning="\u200b"),
    tagged("\u200b"),
    tagged(""),
    tagged("18\n17"),
    "<reasoning>9 * 2</reasoning><answer>18</answer>",
    "<answer>\n18\n</answer>\n<reasoning>\n9 * 2\n</reasoning>",
    tagged("18").upper(),
    tagged("18").replace("\n<", "\n <"),
    tagged("18").replace("</reasoning>\n", "</reasoning>\n\n\n"),
    tagged("18").replace("</reasoning>", ""),
    tagged("<answer>"),
]

NO_SOFT_LAYOUT = [
    *(tagged("18", reasoning=body) for body in (".", "…", "?", "***", "$$", "\u3164", "\u2800")),
    tagged("18", reasoning="..."),
    tagged("..."),
    tagged("18", reasoning=""),
    tagged("18", reasoning="\u200b"),
    tagged("\u200b\ufeff"),
    "<answer>18</answer><reasoning>9 * 2</reasoning>",
    "<reasoning>9 * 2</reasoning> so <answer>18</answer>",
    "<reasoning>9 * 2</reasoning></reasoning><answer>18</answer>",
    "<reasoning>9 * 2</reasoning><answer>18</answer></answer>",
    "<reasoning>9 * 2<answer>18</answer></reasoning>",
    "<reasoning>9 * 2<answer>18</answer>",
    "<reasoning>9 * 2</reasoning><answer>18",
    tagged("18") + tagged("18"),
    "<reasoning>" * 20000 + "</reasoning><answer>",
]

# completion, score of xmlcount
XMLCOUNT = [
    ("", 0),
    ("18", 0),
    (tagged("", reasoning=""), 0),
    (tagged("...", reasoning="..."), 0),
    (tagged("\u200b", reasoning="\u200b"), 0),
    (tagged("***", reasoning="."), 0),
    (tagged("\u3164", reasoning="\u115f"), 0),
    ("<reasoning></reasoning><answer></answer>", 0),
    ("<reasoning>\n<answer>\n</reasoning>\n</answer>", 0),
    (tagged("18") + tagged("18"), 0),
    (tagged("18") * 50, 0),
    (tagged("18") + "x" * 100000, 0.375),
    (tagged("18") + "\n</reasoning>" * 9000, 0.25),
]

# numbers, target: answers that do not solve the problem
COUNTDOWN = {
    ((3, 5, 7), 22): [
        "22",
        "15+7",
        "3*5",
        "3*5+7+0",
        "3*5+7*1",
        "3*5+7-7+7",
        "3*5+7=23",
        "3*5+7=22=23",
        "22=22",
        "3*5+7, 3*5+7",
        "3*5+7 or 3+5+7",
        "3*5+7\n3+5+7",
        "3*5+7;",
        "3*5+7 if 1 else 0",
        "max(3*5,0)+7",
        "eval('22')",
        "__import__('os').system('true') or 22",
        "(lambda: 22)()",
        "３*５+７",
        "3*5+٧",
        "3e0*5+7",
        "0x3*5+7",
        "-(-3)*5+7",
        "3*5--7",
        "3*5+7)",
        "(3*5+7",
        "3 5 * 7 +",
        "(3)(5)+7",
        "3*5+7!",
        "[3*5+7]",
        "3*5+7%100",
        "(" * 50000 + "3*5+7",
        "3*5+7" + "+0" * 50000,
    ],
    ((2, 3), 8): ["2**3", "2^3", "2<<2", "2*2*2", "2³", "2^{3}"],
    ((3, 5), 9): ["3*3", "3*3+5-5", "(5-3)*3+3", "3²"],
    ((7, 2), 3): ["7//2", "7%4", "7/2", "(7-1)/2", "3"],
    ((1, 2), 12): ["12", "1 2", "1_2", "1.2", "1+2", "'1'+'2'"],
    ((4,), 24): ["4!", "4*3*2*1", "24", "4"],
    ((5, 5, 3), 3): ["3/(5-5)", "3", "3+(5-5)*0", "3+5", "5/5*3*1"],
    ((1, 3), 0): ["1/3", "1//3", "1-1", "3-3", "0", "1%1"],
    ((1, 100000000000000000000, 5), 5): ["1/100000000000000000000+5", "5", "5*1"],
    ((9, 9, 9), 1): ["9**9**9", "9/9", "9/9*9/9", "9/9+9-9", "1"],
}

COUNTDOWN_TEXTS = [
    "3*5+7",
    r"\boxed{3*5+7}",
    "<answer>3*5+7</answer><answer>3+5+7</answer>",
    "<answer>3*5+7",
    "<answer><answer>3*5+7</answer></answer>",
    "```\n3*5+7\n```",
]

# gold: values that are not the gold
EXACT = {
    '["a", "b", "c"]': [
        '["a", "b"]',
        '["b", "a", "c"]',
        '["a", "b", "c", "c"]',
        '["a", "b", "c", ""]',
        '["abc"]',
        '["a", ["b", "c"]]',
        '["a", "b", "c"] or ["c"]',
        '["a", "b", "c"]["a"]',
        "list('abc')",
        '["a", "b"] + ["c"]',
        '{"a": 0, "b": 1, "c": 2}',
        "[" * 100000,
        "[" * 50000 + "]" * 50000,
    ],
    "[[1, 2], [3, 4]]": [
        "[[1, 2], [3, 5]]",
        "[[1, 3], [2, 4]]",
        "[1, 2, 3, 4]",
        "[[1, 2], [3, 4], []]",
        "[[[1, 2], [3, 4]]]",
        "[[1, 2]] + [[3, 4]]",
        "[[1, 2], [3, 2 + 2]]",
        "[[True, 2], [3, 4]]",
        "[[1.0000001, 2], [3, 4]]",
        "[[1, 2], [3, NaN]]",
        '[["1", "2"], ["3", "4 "]] or',
        "[[1, 2], [3, 4]]; [[0]]",
    ],
    "true": ["1", "1.0", "false", '["true"]', "true or false", "not true"],
    "1": ["true", "True", "1.0000000000000000001", "[1]", "2 - 1", "1 or 2", "1j", "1" * 9000],
    '{"a": 1, "b": 2}': ['{"a": 1}', '{"a": 2, "b": 1}', '{"a": 1, "b": 2, "c": 3}', "[1, 2]"],
    "red": ["red or blue", "not red", "red, blue", "red\nblue", "infrared", "r"],
    "34 days": ["34 weeks", "34 or 35 days", "-34 days", "43 days"],
}

EXACT_TEXTS = [
    "<answer>red</answer><answer>blue</answer>",
    "<answer>red",
    "red",
    "<answer>blue</answer>\n```\nred\n```",
    r"\boxed{red} \boxed{blue}",
    "<think>```\nred\n```</think>",
]

# for the gold GRID % ("cat", "dog")
GRIDS = [
    GRID % ("dog", "cat"),
    GRID % ("cat", "owl"),
    GRID % ("cat dog", "cat dog"),
    GRID % ("cat", ""),
    GRID % ("cat", "dog") + GRID % ("dog", "cat"),
    GRID % ("cat", "dog or cat"),
    '{"header": ["House", "Pet"], "rows": [["1", "cat"]]}',
    '{"header": ["House", "Pet"], "rows": [["1", "cat"], ["2", "dog"], ["3", "owl"]]}',
    '{"header": ["House", "Pet"], "rows": [["2", "dog"], ["1", "cat"]]}',
    '{"header": ["House", "Car"], "rows": [["1", "cat"], ["2", "dog"]]}',
    '{"header": ["Pet", "House"], "rows": [["1", "cat"], ["2", "dog"]]}',
    '{"header": ["House", "Pet", "Pet"], "rows": [["1", "cat", "dog"], ["2", "dog", "cat"]]}',
    '{"header": [], "rows": []}',
    '{"header": ["House", "Pet"], "rows": [[], []]}',
    "[]",
    "{}",
]

# reward: completions that earn nothing
LAYOUTS = {
    format.think_strict_format_reward_func: [
        "<think>\n...\n</think>\n<answer>\n4\n</answer>",
        "<think>\na\n</think>\n<answer>\n.\n</answer>",
        "<think>a</think><answer>4</answer>",
        "<answer>\n4\n</answer>\n<think>\na\n</think>",
        "<think>\n\u200b\n</think>\n<answer>\n4\n</answer>",
        "Well.\n<think>\na\n</think>\n<answer>\n4\n</answer>",
    ],
    format.think_soft_format_reward_func: [
        "<answer>4</answer><think>a</think>",
        "<think>a</think>b<answer>4</answer>",
        "<think>a</think></think><answer>4</answer>",
        "<think>!?</think><answer>4</answer>",
        "<think>a</think><answer>---</answer>",
    ],
    format.think_format_reward_func: [
        "<think></think>4",
        "<think>a</think>",
        "<think>a</think>...",
        "<think>a</think><think>b</think>4",
        "<think>a",
    ],
    format.tag_count_reward_func: [
        "<think></think><answer></answer>",
        "<think>.</think><answer>.</answer>",
        "<think><think></think></think><answer><answer></answer></answer>",
        "</answer><answer></think><think>",
    ],
    format.hash_format_reward_func: [
        "#### 18",
        "a\n#### ",
        "a\n#### ...",
        "...\n#### 18",
        "a\n#### 18\nand more",
        "a #### 18",
    ],
    GATED: [tagged("17"), tagged("17 or 18"), "<answer>18</answer>", tagged("18") + tagged("17")],
    shaping.reasoning_steps_reward_func: [
        "1.\n2.\n3.</think>18",
        "Step 1:\nStep 2:\nStep 3:</think>18",
        "- a b c\n- a b c\n- d e f</think>18",
        "1. + = -\n2. = = =\n3. x + y</think>18",
        "- go go go go\n- no no no no\n- ha ha ha</think>18",
    ],
}

# completion, score of reasoning_steps: a repeated step counts once
STEPS = [
    ("1. We add them up.\n" * 3 + "</think>18", 1 / 3),
    ("1. We add up.\n2. we ADD up!\n3. We  add up</think>18", 1 / 3),
    ("- We add them up.\n- We add them up\u200b.\n- We add them  up.</think>18", 1 / 3),
]

HASH_WRONG = ["#### 17\n#### 18", "#### 18 tens", "#### 9*2", "#### 18 or 17", "18", "#### $"]

# reward, completion, columns: right answers, so that the zeros above mean something
PAID = [
    (math.accuracy_reward_func, r"\boxed{18}", {"solution": "18"}),
    (gsm8k.correctness_reward_func, tagged("18"), {"answer": "18"}),
    (gsm8k.int_reward_func, tagged("18"), {}),
    (gsm8k.strict_format_reward_func, tagged("18"), {}),
    (gsm8k.soft_format_reward_func, tagged("18"), {}),
    (gsm8k.xmlcount_reward_func, tagged("18"), {}),
    (countdown.equation_reward_func, "<answer>3*5+7</answer>", {"nums": [3, 5, 7], "target": 22}),
    (puzzles.exact_reward_func, '<answer>["a"]</answer>', {"solution": '["a"]'}),
    (puzzles.grid_reward_func, f"<answer>{GRID % (1, 2)}</answer>", {"solution": GRID % (1, 2)}),
    (format.hash_correctness_reward_func, "9*2\n#### 18", {"answer": "18"}),
    (GATED, tagged("18"), {"answer": "18"}),
]


def cells(text):
    """Return the answers of a text with `|` between them."""
    return [answer.strip() for answer in text.strip().replace("\n", "|").split("|")]


def in_tags(answer):
    return f"<answer>{answer}</answer>"


def boxed(answer):
    return f"\\boxed{{{answer}}}"


def rows(reward, texts, write=str, **columns):
    """Return the reward, the completion, the columns and the score 0 of each text."""
    return [(reward, write(text), columns, 0) for text in texts]


def keyed(reward, table, write, *names):
    """Return the rows of a table whose keys hold the columns `names`."""
    found = []
    for key, texts in table.items():
        values = key if len(names) > 1 else [key]
        found += rows(reward, texts, write, **dict(zip(names, values, strict=True)))
    return found


def scored(reward, table):
    """Return the rows of pairs of a completion and its score."""
    return [(reward, text, {}, expected) for text, expected in table]


# completions that are paid: why
PAID_IN_ERROR = {in_tags("1.0000000000000000001"): "JSON numbers are read as floats"}


def marked(row):
    marks = ()
    if row[1] in PAID_IN_ERROR:
        marks = pytest.mark.xfail(strict=True, reason=PAID_IN_ERROR[row[1]])
    return pytest.param(*row, id=f"{row[2]}-{row[1]}"[:90], marks=marks)


PROBLEM = {"nums": [3, 5, 7], "target": 22}
ROWS = [
    *keyed(math.accuracy_reward_func, MATH, boxed, "solution"),
    *keyed(math.accuracy_reward_func, ECHOES, boxed, "prompts", "solution"),
    *rows(math.accuracy_reward_func, MATH_TEXTS, solution="18"),
    *rows(gsm8k.correctness_reward_func, cells(GSM8K_WRONG), tagged, answer="18"),
    *rows(gsm8k.correctness_reward_func, GSM8K_TEXTS, answer="18"),
    *rows(gsm8k.int_reward_func, cells(NOT_AN_INTEGER), tagged),
    *rows(gsm8k.strict_format_reward_func, NO_STRICT_LAYOUT),
    *rows(gsm8k.soft_format_reward_func, NO_SOFT_LAYOUT),
    *scored(gsm8k.xmlcount_reward_func, XMLCOUNT),
    *rows(countdown.equation_reward_func, COUNTDOWN_TEXTS, **PROBLEM),
    *keyed(puzzles.exact_reward_func, EXACT, in_tags, "solution"),
    *rows(puzzles.exact_reward_func, EXACT_TEXTS, solution="red"),
    *rows(puzzles.grid_reward_func, GRIDS, in_tags, solution=GRID % ("cat", "dog")),
    *scored(shaping.reasoning_steps_reward_func, STEPS),
    *rows(format.hash_correctness_reward_func, HASH_WRONG, "9 * 2\n{}".format, answer="18"),
]
for (nums, target), texts in COUNTDOWN.items():
    ROWS += rows(countdown.equation_reward_func, texts, in_tags, nums=[*nums], target=target)
for wrong_gold, text in lines(MORE_MATH):
    ROWS += rows(math.accuracy_reward_func, [text], boxed, solution=wrong_gold)
for question, simple, text in lines(MORE_ECHOES, 2):
    ROWS += rows(math.accuracy_reward_func, [text], boxed, prompts=question, solution=simple)
for layout, texts in LAYOUTS.items():
    ROWS += rows(layout, texts, answer="18")
# A gold that cannot be read scores nobody.
for gold in UNREADABLE_GOLDS:
    ROWS.append((math.accuracy_reward_func, boxed(gold), {"solution": gold}, None))
for paying, text, columns in PAID:
    ROWS.append((paying, text, columns, paying.spec.range[1]))


@pytest.mark.every(2)
@pytest.mark.parametrize("reward,completion,columns,expected", [*map(marked, ROWS)])
def test_scores_rows_of_an_attacker(reward, completion, columns, expected):
    lists = {"prompts": [""]} | {name: [value] for name, value in columns.items()}
    assert reward(completions=[completion], **lists) == [expected]

"""Right answers in the fair forms that a good model writes: the reward must pay each of them."""

import pytest

from axolotl_grpo_plugin.rewards import gsm8k, math
from tests.rewards.helpers import lines, tagged

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
    (r"1011_2", r"1011_{\text{two}}"),
    (r"\{x|x<1\}\cup\{x|x>2\}", r"(-\infty,1)\cup(2,\infty)"),
    ("E", r"\text{(E)}\ 12"),
    (r"5\text{ feet }6\text{ inches}", r"5\text{ ft }6\text{ in}"),
    ("18", "１８"),
    ("18.5", "１８．５"),
    ("18", "18。"),
    ("18", "18元"),
    ("18", "18个"),
    ("18", r"18\text{ 元}"),
    ("1000", "1\u2009000"),
    ("-5", "\uff0d5"),
    ("18", r"\text{Rs. }18"),
]

# A form, then others that are equal in both directions.
FORMS = r"""
3\cdot3^n ¦ 3^{n+1}
\frac{2^n}{2} ¦ 2^{n-1}
2^{n-1} ¦ \frac12\cdot2^n
4^n ¦ 2^{2n}
(ab)^n ¦ a^nb^n
\log_3 5 ¦ \frac{\ln 5}{\ln 3} ¦ \frac{\log 5}{\log 3}
\ln 12 ¦ 2\ln 2+\ln 3
\frac13\ln 8x ¦ \ln 2+\frac13\ln x
\ln 2 ¦ -\ln\frac12
\frac{1}{2}\ln 5 ¦ \ln\sqrt5
\ln\sqrt5 ¦ \frac{\ln 5}{2}
\sqrt{8} ¦ 2\sqrt2
\frac{\sqrt3}{3} ¦ \frac{1}{\sqrt3}
\sqrt{\frac{1}{3}} ¦ \frac{\sqrt3}{3}
\sqrt[3]{16} ¦ 2\sqrt[3]{2}
\sqrt[4]{4} ¦ \sqrt2
\frac{1}{\sqrt2-1} ¦ \sqrt2+1
\sqrt{3+2\sqrt2} ¦ 1+\sqrt2
2^{\frac32} ¦ 2\sqrt2
\frac{x}{y} ¦ xy^{-1}
\frac{1}{x^2} ¦ x^{-2}
x(x+1) ¦ x^2+x
(a+b)^2 ¦ a^2+2ab+b^2
\frac{a}{b}+\frac{c}{d} ¦ \frac{ad+bc}{bd}
\cos 2x ¦ 1-2\sin^2x
\sec x ¦ \frac{1}{\cos x}
\cot x ¦ \frac{\cos x}{\sin x}
\tan^2 x+1 ¦ \sec^2 x
\sinh x ¦ \frac{e^x-e^{-x}}{2}
e^{x+y} ¦ e^xe^y
(n+1)! ¦ (n+1)n!
\binom{n}{3} ¦ \frac{n(n-1)(n-2)}{6}
\binom{n}{k} ¦ \frac{n!}{k!(n-k)!}
a^2-b^2 ¦ (a+b)(a-b)
-(x-1) ¦ 1-x
\frac{x-1}{2} ¦ \frac12x-\frac12
-\frac{a}{b} ¦ \frac{-a}{b}
\frac{1}{i} ¦ -i
\frac{1}{1-i} ¦ \frac{1+i}{2}
e^{i\pi/2}x ¦ ix
\frac{3\pi}{2} ¦ \frac{3}{2}\pi ¦ 1.5\pi
\pi r^2 ¦ r^2\pi
\frac43\pi r^3 ¦ \frac{4\pi r^3}{3}
\sqrt{x^2+y^2} ¦ (x^2+y^2)^{1/2}
|x-y| ¦ |y-x|
\ln\left(x+1\right) ¦ \ln(1+x)
\log_{10} x ¦ \frac{\ln x}{\ln 10}
\frac{\pi}{6} ¦ \pi/6
2ab ¦ 2\cdot a\cdot b ¦ 2*a*b
a/b ¦ \frac ab
\frac{1+\sqrt{17}}{2} ¦ \frac{\sqrt{17}+1}{2}
\arcsin\frac13 ¦ \sin^{-1}\frac13
\arccos x ¦ \cos^{-1}(x)
\frac{n(n+1)(2n+1)}{6} ¦ \frac{2n^3+3n^2+n}{6}
0.125 ¦ \frac18
0.2 ¦ \frac{1}{5}
-3 ¦ -3.0
7/3 ¦ 2\frac13
2\frac13 ¦ \frac73
2 1/3 ¦ 7/3
-1.5 ¦ -1\frac12
1000000 ¦ 1,000,000 ¦ 1{,}000{,}000 ¦ 1\,000\,000
0.05 ¦ .05
0.\overline{6} ¦ \frac23
0.1\overline{6} ¦ \frac16
3.\overline{142857} ¦ \frac{22}{7}
-0 ¦ 0
1/2 ¦ .5
600000 ¦ 6\times10^5
0.003 ¦ 3\times10^{-3}
6.02\times10^{23} ¦ 6.02\cdot10^{23}
25000 ¦ 2.5\times 10^{4}
2 ¦ +2 ¦ \{2\} ¦ x=2 ¦ x = 2.0 ¦ n=2 ¦ \alpha = 2 ¦ f(3)=2 ¦ f'(3)=2 ¦ a_{10}=2 ¦ \text{Area}=2 ¦ S_n=2 ¦ 200\%
12 ¦ 12. ¦ 012 ¦ 12.0
4 ¦ \mathbf{4} ¦ {4} ¦ \left(4\right) ¦ (4)
5 ¦ 5 units ¦ 5\text{ km/h} ¦ 5\text{ cm}^3 ¦ 5\text{ feet} ¦ \$5 ¦ £5 ¦ 5\text{ dollars} ¦ 5\text{ years old}
72 ¦ 72^\circ ¦ 72^{\circ} ¦ 72° ¦ 72\text{ degrees}
72^\circ ¦ 72
5.00 ¦ \$5
\$5.50 ¦ 5.5 ¦ \$5.5
1200 ¦ \$1,200
1200\text{ dollars} ¦ \$1,200.00
5\text{ cm} ¦ 5\text{ centimeters}
5\text{ m}^2 ¦ 5\text{ square meters}
\frac{5}{2}\text{ cm} ¦ 2.5
2\sqrt3\text{ cm} ¦ 2\sqrt{3}
10\pi\text{ inches} ¦ 10\pi
10\pi ¦ 10\pi\ \text{cm}^2
60 ¦ 60\text{ mph}
9.8 ¦ 9.8\ \text{m/s}^2
0.25 ¦ 25\% ¦ 25%
25\% ¦ 0.25 ¦ \frac14 ¦ 25\text{ percent}
25 ¦ 25\%
12.5\% ¦ 12.5 ¦ 0.125 ¦ \frac18
1.2 ¦ 120\%
\frac{100}{3}\% ¦ 33\frac13\%
33\frac{1}{3}\% ¦ \frac13
0.1\% ¦ 0.001 ¦ \frac{1}{1000}
-5\% ¦ -5
0\% ¦ 0
\{-1,0,1\} ¦ -1,0,1 ¦ \{1,0,-1\} ¦ 0,\pm1
\{2\} ¦ 2
\{a,b\} ¦ \{b,a\}
\{1,2\} ¦ \{1, 2\} ¦ \left\lbrace1,2\right\rbrace ¦ x\in\{1,2\} ¦ x_1=1, x_2=2 ¦ 1\text{ and }2
1,2,3 ¦ 1,2\text{ and }3 ¦ 1, 2, \text{and } 3
1,2 ¦ 2;1 ¦ 2\text{ or }1
x=1,x=2 ¦ x=1\text{ or }x=2
\{\frac12,2\} ¦ \{0.5,2\}
\{\sqrt2,-\sqrt2\} ¦ \pm\sqrt2
\pm\sqrt2 ¦ x=\pm\sqrt{2}
\pm2i ¦ 2i,-2i
-1\pm\sqrt{3}i ¦ -1+\sqrt3i,-1-\sqrt3i
\{(1,2),(2,1)\} ¦ (2,1),(1,2) ¦ (1,2)\text{ and }(2,1)
(1,2)\text{ or }(2,1) ¦ (1,2),(2,1)
\emptyset ¦ \text{no solutions} ¦ \text{There is no solution} ¦ x\in\emptyset ¦ \text{no real roots} ¦ \left\{\right\}
\emptyset ¦ \{ \}
\text{No real solution} ¦ \emptyset
\text{empty set} ¦ \emptyset
\mathbb{R} ¦ \text{all reals} ¦ x\in\mathbb{R} ¦ -\infty<x<\infty
\mathbb R ¦ (-\infty,\infty)
[2,5] ¦ 2\le x\le5
(2,5] ¦ 2<x\le5
[2,5) ¦ 5>x\ge2
2\le x<5 ¦ [2,5)
[2,\infty) ¦ x\ge2 ¦ 2\le x
(-\infty,2) ¦ x<2 ¦ 2>x
x\ge2 ¦ [2,\infty) ¦ [2,+\infty)
(-\infty,-2)\cup(2,\infty) ¦ x<-2\text{ or }x>2
(-2,2) ¦ |x|<2 ¦ -2<x<2
[-2,2] ¦ |x|\le2
x<-2\text{ or }x>2 ¦ (2,\infty)\cup(-\infty,-2)
[0,1] ¦ \{x:0\le x\le1\} ¦ \{x\in\mathbb{R}:0\le x\le1\}
(-\infty,1)\cup(1,\infty) ¦ x\ne1
x\ne1 ¦ \mathbb{R}\setminus\{1\}
\mathbb{R}\setminus\{-1,1\} ¦ x\ne\pm1
(-\infty,-1)\cup(-1,1)\cup(1,\infty) ¦ x\neq-1,1
\left[-\frac12,\frac12\right] ¦ [-0.5,0.5]
[1,\sqrt2] ¦ 1\le x\le\sqrt2
(0,\pi) ¦ 0<\theta<\pi
(0,\frac{\pi}{2}) ¦ 0<x<\pi/2
k>3 ¦ (3,\infty) ¦ 3<k ¦ k\in(3,\infty)
x \geqslant 1 ¦ x\ge1
x>=1 ¦ x\ge 1
a\le1 ¦ a<=1
(1,2)\cup(3,4) ¦ 1<x<2\text{ or }3<x<4
(3,4) ¦ x=3,y=4 ¦ x=3\text{ and }y=4 ¦ (x,y)=(3,4) ¦ x=3;\ y=4 ¦ (3, 4) ¦ \left(3,4\right) ¦ \langle3,4\rangle
(3,4) ¦ P=(3,4)
x=3,y=4 ¦ (x,y)=(3,4)
a=1,b=2,c=3 ¦ (1,2,3) ¦ c=3,a=1,b=2 ¦ a=1,\ b=2,\ c=3 ¦ (a,b,c)=(1,2,3)
(a,b)=(1,2) ¦ (1,2) ¦ a=1,b=2
m=2, n=-3 ¦ m=2\text{ and }n=-3
x=2 ¦ 2
\alpha=2 ¦ 2
3x+1 ¦ f(x)=3x+1 ¦ y=3x+1
f(x)=3x+1 ¦ 3x+1
y=3x+1 ¦ 3x+1
f^{-1}(x)=\frac{x-1}{3} ¦ \frac{x-1}{3}
y=2x-4 ¦ 2x-y=4 ¦ 2x-y-4=0
x^2+y^2=9 ¦ y^2+x^2=9 ¦ x^2+y^2-9=0
x=5,y=-1 ¦ x=5,\;y=-1
\begin{pmatrix}1&0\\0&1\end{pmatrix} ¦ \begin{bmatrix}1&0\\0&1\end{bmatrix}
\begin{bmatrix}\frac12&0\end{bmatrix} ¦ \begin{bmatrix}0.5&0\end{bmatrix}
\begin{pmatrix}a\\b\end{pmatrix} ¦ \begin{pmatrix} a \\ b \end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} ¦ \begin{pmatrix} 1 & 2\\ \end{pmatrix}
A ¦ \text{A} ¦ (A) ¦ A. ¦ A) ¦ \textbf{A} ¦ \text{(A) }
(A) ¦ \textbf{(A)}
C ¦ \mathrm{(C)}
\textbf{(A)} ¦ A
B ¦ [B] ¦ \text{Option B} ¦ \text{choice B}
\text{Yes} ¦ yes ¦ yes.
Yes ¦ \text{YES}
\text{True} ¦ true ¦ True
false ¦ \text{False.}
\text{Tuesday} ¦ Tuesday
\text{red} ¦ \textit{red}
\text{odd} ¦ Odd.
\text{Monday and Friday} ¦ \text{Friday and Monday}
A,C ¦ \text{A and C} ¦ C, A
3:4 ¦ 3 : 4 ¦ \frac34 ¦ 3\text{ to }4
6:8 ¦ 3:4
2:3:4 ¦ 2 : 3 : 4
4:15 ¦ 4\!:\!15
4:15\text{ PM} ¦ 4:15 pm
\text{10:30 a.m.} ¦ 10:30 AM
\pi ¦ \pi\approx3.14
2.5 ¦ x\approx2.5 ¦ \approx 2.5 ¦ 2.50
\frac12 ¦ \displaystyle\frac{1}{2} ¦ \tfrac12 ¦ \cfrac{1}{2} ¦ {1}/{2} ¦ \frac{1}{2}. ¦ $\frac{1}{2}$ ¦ \(\frac12\)
\frac{1}{2} ¦ \left(\frac12\right) ¦ 1 / 2
\frac{-3}{4} ¦ -\dfrac{3}{4}
\sqrt{5} ¦ \sqrt 5 ¦ \sqrt{{5}} ¦ sqrt(5) ¦ 5^{\frac{1}{2}}
\sqrt5 ¦ √5
2π ¦ 2\pi
½ ¦ 0.5
x² ¦ x^2
x^2 ¦ x**2
2×10³ ¦ 2000
x\le3 ¦ x≤3
90° ¦ 90
∞ ¦ \infty
+\infty ¦ \infty
-\infty ¦ -∞
∅ ¦ \emptyset
{1,2} ¦ \{1,2\}
-4 ¦ −4 ¦ - 4
ℝ ¦ \mathbb{R}
1⁄2 ¦ \frac12
x_1 ¦ x_{1}
1+2i ¦ 1+2\,i
3·x ¦ 3x
\frac{10!}{5!5!} ¦ \binom{10}{5}
\mathbb{R}\setminus\{-2,2\} ¦ x\ne\pm2
\mathbb{R}\setminus\{0,3\} ¦ (-\infty,0)\cup(0,3)\cup(3,\infty) ¦ x\ne0,3 ¦ x\neq0\text{ and }x\neq3
\mathbb{R}\setminus\{0,3\} ¦ \mathbb{R}-\{0,3\}
x\ne0, x\ne3 ¦ x\neq3,x\neq0
\mathbb{R}\setminus\{0\} ¦ \mathbb{R}-\{0\} ¦ \{x\in\mathbb{R}\mid x\ne0\} ¦ \mathbb{R}\backslash\{0\}
\{3\} ¦ x=3
[3,\infty) ¦ \{x|x\ge3\} ¦ x\in[3,\infty) ¦ \{x:x\geq3\}
[-1,4] ¦ -1\leq x\leq4 ¦ -1\leqslant y\leqslant4 ¦ x\ge-1\text{ and }x\le4
(-1,4) ¦ x>-1,\ x<4 ¦ x>-1\text{ and }x<4
(-\infty,-1]\cup[4,\infty) ¦ x\le-1\text{ or }x\ge4 ¦ x\ge4\text{ or }x\le-1 ¦ \{x\mid x\le-1\text{ or }x\ge4\}
(-\infty,-1]\cup[4,\infty) ¦ x\in(-\infty,-1]\cup[4,\infty)
(2,3)\cup\{5\} ¦ \{5\}\cup(2,3)
\{1\}\cup[2,3] ¦ [2,3]\cup\{1\}
0<x\le\frac12 ¦ \left(0,\frac12\right] ¦ (0,0.5]
x>\sqrt2 ¦ (\sqrt2,\infty)
x>\ln2 ¦ (\ln2,\infty)
a\ge-\frac14 ¦ \left[-\frac14,\infty\right)
m<0 ¦ (-\infty,0)
\lambda>1 ¦ (1,\infty)
x\in\mathbb{Z} ¦ \mathbb{Z}
\varnothing ¦ \text{No solution.} ¦ \text{no solution exists}
\text{No solution} ¦ no solutions
p=3,q=1;p=4,q=2 ¦ (3,1),(4,2) ¦ (p,q)=(3,1),(4,2)
(3,1),(4,2) ¦ (p,q)=(3,1)\text{ or }(p,q)=(4,2) ¦ (p,q)\in\{(3,1),(4,2)\} ¦ \{(4,2),(3,1)\}
(3,1) ¦ p=3,\ q=1
a=3,b=1 ¦ b=1\text{ and }a=3
(x,y)=(3,1) ¦ x=3,y=1
x=3,y=1,z=0 ¦ (3,1,0)
(0,1),(1,0) ¦ x=0,y=1\text{ or }x=1,y=0
(2,3) ¦ x=2,\quad y=3
k=2 ¦ 2
\theta=30^\circ ¦ 30
x=\frac{\pi}{4} ¦ \pi/4
r=2,s=5 ¦ (r,s)=(2,5)
0.75 ¦ 75\%
75\% ¦ 3/4 ¦ 75
0.25\% ¦ 0.0025 ¦ \frac{1}{400}
150\% ¦ 1.5
6.25\% ¦ \frac{1}{16}
6\frac14\% ¦ 6.25\%
200\% ¦ 2
7.5 ¦ 7.5\%
2\cdot3^n ¦ 3^n\cdot2
\frac{3^{n+1}}{3} ¦ 3^n
5^{n+2} ¦ 25\cdot5^n
25\cdot5^n ¦ 5^{n+2}
2^{-n} ¦ \left(\frac12\right)^n
\frac{1}{2^n} ¦ 2^{-n}
8^n ¦ 2^{3n}
\frac{\log7}{\log3} ¦ \log_37
\log_37 ¦ \frac{\ln7}{\ln3}
\ln\frac{3}{2} ¦ \ln3-\ln2
\ln3-\ln2 ¦ \ln\frac32
\ln1.5 ¦ \ln\frac32
\ln20 ¦ \ln4+\ln5
3\ln2 ¦ \ln8
\ln8 ¦ 3\ln2
-\ln3 ¦ \ln\frac13
\ln\sqrt[3]{2} ¦ \frac13\ln2
\log_9 5 ¦ \frac12\log_35
\log_2 x ¦ \frac{\ln x}{\ln2}
\frac{\sqrt{15}}{3} ¦ \sqrt{\frac53}
\sqrt{\frac53} ¦ \frac{\sqrt5}{\sqrt3}
\frac{2}{\sqrt3} ¦ \frac{2\sqrt3}{3}
\frac{\sqrt{10}-\sqrt2}{4} ¦ \frac{\sqrt{10}}{4}-\frac{\sqrt2}{4}
\sqrt[3]{54} ¦ 3\sqrt[3]2
7\sqrt3 ¦ \sqrt{147}
4+2\sqrt3 ¦ 2(2+\sqrt3)
(1+\sqrt3)^2 ¦ 4+2\sqrt3
\frac{5\pi}{6} ¦ \frac56\pi
\frac{\pi+2}{4} ¦ \frac{\pi}{4}+\frac12
12\pi-8 ¦ 4(3\pi-2)
\frac{a^2+ab}{a} ¦ a+b
\frac{x^3-8}{x-2} ¦ x^2+2x+4
x^2-2x+1 ¦ (1-x)^2
(2-x)(3-x) ¦ (x-2)(x-3)
\frac{a-b}{c-d} ¦ \frac{b-a}{d-c}
\frac{1}{2}mv^2 ¦ \frac{mv^2}{2}
n(n-1) ¦ n^2-n
\frac{n!}{(n-2)!} ¦ n(n-1)
\cos\theta ¦ \sin\left(\frac\pi2-\theta\right)
\sin^2x ¦ \frac{1-\cos2x}{2}
\frac{\sin x}{1+\cos x} ¦ \tan\frac x2
\csc x ¦ \frac{1}{\sin x}
2\cos^2x-1 ¦ \cos2x
\frac12+\frac{\sqrt3}{2}i ¦ \frac{1+\sqrt3i}{2} ¦ \frac{1+i\sqrt3}{2}
-2-3i ¦ -(2+3i)
5i ¦ 5\mathrm{i}
(3+i)(1-i) ¦ 4-2i
15 ¦ 15\text{ sq units} ¦ 15\ \mathrm{cm}^{3} ¦ 15\ \mathrm{J} ¦ 15\,\text{m}/\text{s} ¦ 15 kg ¦ 15 hrs ¦ 15 sec
15 ¦ 15^{\circ}\text{C} ¦ 15\text{ in}^2 ¦ 15\text{ cents} ¦ ₹15 ¦ \text{€}15 ¦ USD 15 ¦ 15\text{ people}
15 ¦ 15\text{ pairs} ¦ 15\text{ solutions} ¦ 15~\text{cm} ¦ 15\mbox{ cm} ¦ 15\operatorname{cm} ¦ 15cm^2
15 ¦ x=15\text{ cm} ¦ \approx15 ¦ 15\text{ mi/h} ¦ 15\text{ L}
1500 ¦ 1{,}500\text{ m} ¦ 1500.0
E ¦ \text{E} ¦ E) ¦ \textbf{(E)} ¦ (\text{E}) ¦ \mathbf{E} ¦ (E) ¦ \text{E.}
B,D ¦ B and D ¦ D,B
\text{Wednesday} ¦ \textbf{Wednesday}
isosceles ¦ \text{Isosceles}
\text{Alice and Bob} ¦ Bob, Alice
5:2 ¦ 5 : 2 ¦ 5\!:\!2 ¦ 5/2 ¦ \frac52
12:5 ¦ 12 : 5
3:45 ¦ 3\!:\!45
3:45\text{ p.m.} ¦ 3:45 PM
3\text{ p.m.} ¦ 3:00 PM
"""
EQUAL += lines(FORMS)

# The reverse leaves work to the reader, or is not a fair form.
ONE_WAY = [
    (r"\ln 3^2", r"2\ln 3"),
    (r"\binom{5}{2}", "10"),
    (r"1.5\times10^3", "1500"),
    (r"2^{10}", "1024"),
    # A product, a quotient or a power of sums of numbers can be multiplied out.
    (r"\frac{1}{\sqrt2-1}", r"\sqrt2+1"),
    (r"\frac{1}{1-i}", r"\frac{1+i}{2}"),
    (r"(1+\sqrt3)^2", r"4+2\sqrt3"),
    (r"(3+i)(1-i)", "4-2i"),
]

OWN = [
    r"\begin{cases}x&x>0\\-x&x\le0\end{cases}",
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

OWN_WORDS = r"""
50! ¦ \frac{50!}{25!25!} ¦ 2^{2^{2^{n}}} ¦ 7^{7^{7^7}} ¦ 10^{10^{10}}+1 ¦ \binom{100}{50} ¦ \int_a^b f(x)dx
\lim_{x\to0}f(x) ¦ a\equiv b\pmod{n} ¦ \angle ABC=60^\circ ¦ \overrightarrow{AB} ¦ \vec{v} ¦ \hat{i}+\hat{j}
n\in\mathbb{N} ¦ \mathbb{Z} ¦ k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{4}+k\pi ¦ \text{The triangle is isosceles}
\text{neither} ¦ \text{both (i) and (ii)} ¦ I and II ¦ \text{I and II only} ¦ \text{Newton} ¦ H_2O ¦ \mathrm{H_2SO_4}
\text{NaCl} ¦ 3\times3 ¦ 12_{13} ¦ A5F_{16} ¦ \text{ABCDE} ¦ $\frac{1}{2}$ ¦ \dfrac{a}{b} ¦ \sqrt[n]{a} ¦ \log_a b
\text{8:00 am} ¦ \text{June 14, 2003} ¦ 1\text{ hr }20\text{ min} ¦ 3\text{ feet, }4\text{ inches} ¦ 5'7''
\$1.2\text{ million} ¦ 1.2\text{ million} ¦ 18\text{ dozen} ¦ \text{nine hundred} ¦ x ¦ C ¦ \frac{dy}{dx}=2x ¦ y'=y
f'(x)=2x ¦ \nabla f ¦ ||v|| ¦ \|v\|=1 ¦ \lceil x\rceil ¦ a\cdot b ¦ a\times b ¦ A^{-1} ¦ A^T ¦ P(A\mid B)=\frac12
\mu\pm\sigma ¦ [1,2]\times[3,4] ¦ x=\frac{-b\pm\sqrt{b^2-4ac}}{2a} ¦ \frac{a\pm b}{2} ¦ y=\pm\sqrt{x} ¦ x^2-y^2=\pm1
(0,1),(1,0),(\frac12,\frac12) ¦ \{\{1\},\{2,3\}\} ¦ (1,2,\ldots,n) ¦ (a;b) ¦ (-1)^{n+1} ¦ (-2)^3 ¦ -3^2 ¦ 0^0
\frac{0}{0} ¦ 1/0 ¦ \ln 0 ¦ \sqrt{-4} ¦ \log(-1) ¦ i ¦ e^{2\pi i/3} ¦ \operatorname{Re}(z) ¦ |z|^2 ¦ 3.14...
0.1234\ldots ¦ \approx3.14 ¦ \text{at least }5 ¦ \text{less than 5} ¦ 20-30 ¦ 12% ¦ \text{60 mph} ¦ €5 ¦ 5€ ¦ 10^{-3}
1e5 ¦ 1.5\times10^{-10} ¦ \frac{x}{y}\cdot\frac{y}{z} ¦ 2+2 ¦ 3\cdot4 ¦ 5! ¦ \sin 30^\circ ¦ 12\div4 ¦ 120, ¦ 120.
120 \text{ (cm)} ¦ x=1 \text{ (double root)} ¦ 1 \text{ (multiplicity 2)} ¦ a=1\text{ or }b=2 ¦ (x-1)(x+2)=0 ¦ 2x=3y
x=y=z ¦ x=y=1 ¦ a:b:c=1:2:3 ¦ a<b<c ¦ x>1,y<2 ¦ x>0\text{ and }y>0 ¦ x+y\le3 ¦ x^2\ge0 ¦ Left ¦ right ¦ above ¦ below
left and right ¦ shown ¦ See ¦ clockwise ¦ varies ¦ \text{to the left} ¦ left turn ¦ required ¦ omega ¦ Trivial
figure 3 ¦ given ¦ yes ¦ unknown ¦ three ¦ the reader ¦ mean ¦ A and B ¦ improve ¦ bulletproof ¦ waterproof ¦ 80
West ¦ Infinitely many ¦ prime ¦ \text{blue} ¦ isosceles triangle ¦ \text{no} ¦ Undefined ¦ does not exist
\text{DNE} ¦ impossible ¦ none ¦ both ¦ Bob ¦ Carla and Dan ¦ \text{a regular hexagon} ¦ right triangle ¦ quadratic
Three ¦ I and III only ¦ True ¦ \text{None of the above} ¦ None of the above ¦ all real numbers ¦ an ellipse
empty set ¦ Not enough information ¦ cannot be determined
"""
OWN += [gold for (gold,) in lines(OWN_WORDS, 0)]

# Golds that are no answers.
PROSE = r"""
The proof is by induction on n ¦ See solution ¦ See the solution above ¦ No answer ¦ None given ¦ Answer omitted
omitted ¦ left to the reader ¦ Proof omitted ¦ This is a proof problem. ¦ Q.E.D. ¦ QED ¦ Proved ¦ proven ¦ shown above
as above ¦ not available ¦ Not provided ¦ TODO ¦ N/A ¦ \text{Proof} ¦ \boxed{\text{see above}}
\text{The proof is left as an exercise} ¦ ... ¦ We are done
It follows that the triangle is isosceles, as desired ¦ Left as an exercise for the reader ¦ \text{Hence proved}
Hence proved. ¦ The statement is proven ¦ \text{not found} ¦ \text{See above} ¦ See above. ¦ Proof by contradiction
The answer is omitted ¦ Left as exercise ¦ left for the reader ¦ Shown above ¦ q.e.d. ¦ As required ¦ as desired
See solution below ¦ See the figure ¦ Answers vary ¦ Answers will vary ¦ answer not provided ¦ No answer provided
not found. ¦ NOT FOUND ¦ notfound ¦ Not Found ¦ \boxed{\text{Proof omitted}} ¦ \boxed{\text{not found}}
Solution not available ¦ the claim is proven ¦ proved above ¦ \text{Q.E.D.} ¦ \blacksquare ¦ \square
This completes the proof ¦ see explanation ¦ refer to the solution ¦ proof.
The statement is true by induction on the number of edges
"""

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
    ("US$18", "18"),
    ("A$18", "18"),
    ("₽18", "18"),
    ("฿18", "18"),
    ("$18/day", "18"),
    ("18/day", "18"),
    ("18 $/day", "18"),
    ("18°", "18"),
    ("１８", "18"),
    ("１，８００", "1800"),
    ("18。", "18"),
    ("18元", "18"),
    ("18千克", "18"),
    ("18\u00a0000", "18000"),
    ("–5", "-5"),
    ("½", "0.5"),
    ("1½", "1.5"),
    ("Rs. 18", "18"),
    ("18¢", "18"),
    ("1{,}000", "1000"),
    (r"1\,000", "1000"),
    ("18 weeks' pay", "18"),
]

# Forms that the grammar does not read: reported before the training, never paid.
UNREADABLE = [r"\{2k+1 : k \in \mathbb{Z}\}", r"a \mid b"]

NOT_YET_PAID = [(r"\text{March 5}", r"\text{5 March}")]


def check_pays(gold, answer):
    assert math.accuracy_reward_func.score(rf"So \boxed{{{answer}}}.", solution=gold).value == 1


@pytest.mark.every(2)
@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_pays_an_equal_form(gold, answer):
    check_pays(gold, answer)


@pytest.mark.every(2)
@pytest.mark.parametrize(("answer", "gold"), [row for row in EQUAL if row not in ONE_WAY])
def test_pays_the_reverse(answer, gold):
    check_pays(gold, answer)


@pytest.mark.every(2)
@pytest.mark.parametrize("gold", [*OWN, *dict.fromkeys(text for row in EQUAL for text in row)])
def test_gold_pays_its_own_text(gold):
    check_pays(gold, gold)


@pytest.mark.parametrize("completion", COMPLETIONS)
def test_pays_the_answer_in_every_place(completion):
    assert math.accuracy_reward_func.score(completion, solution=r"\frac{3}{4}").value == 1


@pytest.mark.parametrize(("answer", "gold"), GSM8K)
def test_gsm8k_pays_a_number_in_every_fair_form(answer, gold):
    assert gsm8k.correctness_reward_func.score(tagged(answer), answer=gold).value == 2


@pytest.mark.parametrize("gold", [gold for (gold,) in lines(PROSE, 0)])
def test_reports_prose(gold):
    assert "no gold answer" in math.gold_problem(gold)
    assert math.accuracy_reward_func.score(rf"\boxed{{{gold}}}", solution=gold).value is None


@pytest.mark.parametrize("gold", UNREADABLE)
def test_reports_a_gold_that_cannot_be_read(gold):
    assert math.gold_problem(gold)
    assert math.accuracy_reward_func.score(rf"\boxed{{{gold}}}", solution=gold).value is None


@pytest.mark.xfail(strict=True, reason="fair forms that no rule reads yet")
@pytest.mark.parametrize(("gold", "answer"), NOT_YET_PAID)
def test_pays_a_form_that_no_rule_reads_yet(gold, answer):
    check_pays(gold, answer)

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.rewards.math import accuracy_reward_func, gold_problem
from axolotl_grpo_plugin.rewards.mathematics.comparison import equal, stated
from axolotl_grpo_plugin.rewards.mathematics.forms import canonical
from axolotl_grpo_plugin.rewards.mathematics.grammar import read

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
    (r"<answer>\boxed{17} or \boxed{18}</answer>", "18", 0.0, "several_answers"),
    ("<answer>17</answer><answer>18</answer>", "18", 1.0, "correct"),
    ("<answer>18</answer><answer>17", "18", 1.0, "correct"),
    ("18</answer>", "18", 0.0, "no_answer"),
    (r"<answer>18</answer> \boxed{17}", "18", 1.0, "correct"),
    (r"<think>\boxed{18}</think>", "18", 0.0, "no_answer"),
    (r"<think>Say \boxed{18}. But wait", "18", 0.0, "truncated"),
    ("<think>So #### 18\nBut wait", "18", 0.0, "truncated"),
    (r"So \boxed{18}.", "18", 1.0, "correct"),
    ("#### 18\n#### 18.0", "18", 1.0, "correct"),
    ("####", "18", 0.0, "empty_answer"),
    # several boxes
    (r"$\boxed{1}, \boxed{2}$", "1,2", 1.0, "correct"),
    (r"$\boxed{2}$ and $x_1 = \boxed{1}$", "1,2", 1.0, "correct"),
    (r"$\boxed{1}$ papers and $\boxed{2}$ bins", "1,2", 1.0, "correct"),
    (r"$\boxed{1}, \boxed{2}$", "2", 0.0, "several_answers"),
    (r"$\boxed{1}$. Then 2 + 3 = 5, so $\boxed{2}$", "1,2", 0.0, "several_answers"),
    (r"Put it in \boxed{}. So \boxed{18}", "18", 1.0, "correct"),
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
    (r"25\,\mathrm{cm^2}", "25", 1.0, "correct"),
    (r"25\ \mathrm{m/s^2}", "25", 1.0, "correct"),
    (r"25\ \text{cm$^2$}", "25", 1.0, "correct"),
    (r"5\mathrm{x^2}", "5", 0.0, "wrong_value"),
    ("3/4 cups", r"\frac34", 1.0, "correct"),
    (r"\frac12 hundred", r"\frac12", 0.0, "wrong_value"),
    (r"12\sqrt{2} units", r"12\sqrt2", 1.0, "correct"),
    (r"480(1+\sqrt{3})\text{ feet}", r"480(1+\sqrt3)", 1.0, "correct"),
    (r"-5/2 x - 29/4", r"-\frac{5}{2} x - \frac{29}{4}", 1.0, "correct"),
    (r"35/2 \pi", r"\frac{35}{2} \pi", 1.0, "correct"),
    ("x^10", "x^{10}", 1.0, "correct"),
    ("x^10", "0", 0.0, "wrong_value"),
    ("3 tenths", "3", 0.0, "wrong_value"),
    (r"18\text{ M}", "18", 0.0, "wrong_value"),
    (r"\log_2(3)", r"\log_2 3", 1.0, "correct"),
    (r"1-e^{-1}", r"1-\frac{1}{e}", 1.0, "correct"),
    (r"e^{2}e^{3}", r"e^{5}", 0.0, "unevaluated"),
    (r"\tan^{-1} 2", r"\arctan 2", 1.0, "correct"),
    ("18e^{0}", "18", 0.0, "unevaluated"),
    (r"\frac{3}{4} false", r"\frac34", 0.0, None),
    ("x=2, y=3", "x=3, y=2", 0.0, "wrong_value"),
    ("y=2, x=3", "x=3, y=2", 1.0, "correct"),
    (r"y=2, x=1+\sqrt2", r"x=\sqrt{2}+1, y=2", 1.0, "correct"),
    ("y=3, x=2", "(2,3)", 1.0, "correct"),
    ("y=3, x=2", "(3,2)", 0.0, "wrong_value"),
    ("x=2, x=3", "x=3, x=2", 1.0, "correct"),
    (r"\begin{pmatrix} \frac{4}{5} \\ 2 \end{pmatrix}", r"\begin{pmatrix} 4/5 \\ 2 \end{pmatrix}", 1.0, "correct"),
    (r"\begin{pmatrix} 1+1 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 3 \end{pmatrix}", 0.0, "unevaluated"),
    (r"5(2+\sqrt{3})", r"10 + 5\sqrt{3}", 1.0, "correct"),
    (r"2(3)+\sqrt{5}", r"6+\sqrt{5}", 0.0, "unevaluated"),
    (r"2(\sqrt4)", "4", 0.0, "unevaluated"),
    (r"3(2\pi)", r"6\pi", 0.0, "unevaluated"),
    ("3√13", r"3\sqrt{13}", 1.0, "correct"),
    ("x⁴+1", "x^4+1", 1.0, "correct"),
    (r"x \lt -3", "x<-3", 1.0, "correct"),
    (r"x \approx -3.5", "-3.5", 1.0, "correct"),
    (r"6\text{ times}", "6", 1.0, "correct"),
    (r"\text{Yes.}", r"\text{Yes}", 1.0, "correct"),
    ("9", r"9\text{ a.m.}", 1.0, "correct"),
    (r"9:00\text{ a.m.}", r"9\text{ a.m.}", 1.0, "correct"),
    ("7 PM", r"7\text{ p.m.}", 1.0, "correct"),
    (r"7 \text{ p.m.}", r"7\text{ a.m.}", 0.0, "wrong_value"),
    (r"18\text{ dollars}", "18", 1.0, "correct"),
    (r"12 \text{ apples}", "12", 1.0, "correct"),
    (r"\text{13}", "13", 1.0, "correct"),
    (r"90^\circ", "90", 1.0, "correct"),
    (r"50\%", "50", 1.0, "correct"),
    ("x = 5", "5", 1.0, "correct"),
    ("+018", "18", 1.0, "correct"),
    ("$1,234.", "1234", 1.0, "correct"),
    ("18.00", "18", 1.0, "correct"),
    ("–5", "-5", 1.0, "correct"),
    ("−\\frac12", r"-\frac{1}{2}", 1.0, "correct"),
    (r"\$1{,}234.50", "1234.5", 1.0, "correct"),
    (r"10\,000", "10000", 1.0, "correct"),
    (r"\text{(C)}", "C", 1.0, "correct"),
    ("B", "(C)", 0.0, None),
    (r"\frac{1}{\pi}", r"\pi", 0.0, None),
    (r"2\sqrt{\pi}", r"2\pi", 0.0, None),
    (r"\frac{3}{2\pi}", r"\frac{3\pi}{2}", 0.0, None),
    (r"\frac{1}{2}\pi", r"\frac{\pi}{2}", 1.0, "correct"),
    (r"1\%", "100", 0.0, "wrong_value"),
    (r"2800", r"28\%", 0.0, "wrong_value"),
    (r"28\%", "2800", 0.0, "wrong_value"),
    ("3,-3", r"\pm 3", 1.0, "correct"),
    ("18 millions", "18", 0.0, None),
    ("18 but maybe seventeen", "18", 0.0, None),
    # units, and words that are not units
    ("18 men", "18", 1.0, "correct"),
    ("18cm", "18", 1.0, "correct"),
    ("18apples", "18", 1.0, "correct"),
    ("-0", "0", 1.0, "correct"),
    ("-1,018", "-1018", 1.0, "correct"),
    ("There are 18 of them, I think", "18", 0.0, None),
    ("so the number is 18", "18", 0.0, "wrong_value"),
    ("(18", "18", 0.0, "unreadable"),
    (r"\sqrt{4", "2", 0.0, None),
    (r"10 \text{ cm}^{2}", "10", 1.0, "correct"),
    ("5", r"5 \mathrm{~m}", 1.0, "correct"),
    (r"5\sqrt{2}\text{ cm}", r"5\sqrt{2}", 1.0, "correct"),
    (r"17\text{ million}", "17", 0.0, None),
    (r"17\text{ dozen}", "17", 0.0, None),
    (r"18\text{ or so}", "18", 0.0, "several_answers"),
    ("2x", "2", 0.0, None),
    ("2", "2x", 0.0, None),
    ("5", "5i", 0.0, None),
    ("3", "3 xy", 0.0, None),
    # percents
    ("28 percent", r"28\%", 1.0, "correct"),
    ("0.28", r"28\%", 1.0, "correct"),
    (r"28\%", "0.28", 1.0, "correct"),
    (r"2.8\%", "28", 0.0, "wrong_value"),
    (r"\frac{1}{2}\%", r"0.5\%", 1.0, "correct"),
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
    (r"0.\overline{3}", r"\frac{1}{3}", 1.0, "correct"),
    (r"1.2\overline{34}", r"\frac{1222}{990}", 1.0, "correct"),
    ("1 1/2", "3/2", 1.0, "correct"),
    ("1 1/2", "11/2", 0.0, "wrong_value"),
    (r"1\frac{1}{2}", "1.5", 1.0, "correct"),
    (r"\frac1{2}", r"\frac{1}2", 1.0, "correct"),
    ("1101_{2}", "1101_2", 1.0, "correct"),
    ("1101_2", "1101_3", 0.0, "wrong_value"),
    ("0", "10^{-30}", 0.0, "wrong_value"),
    (r"\frac{1}{3^{60}}\pi", r"\frac{1}{3^{61}}\pi", 0.0, "wrong_value"),
    # hedges
    ("17 or 18", "18", 0.0, "several_answers"),
    (r"17\text{ or }18", "18", 0.0, "several_answers"),
    ("17, 18", "18", 0.0, "several_answers"),
    ("x=1 or x=2", "1", 0.0, "several_answers"),
    (r"18 \text{ and } 19", "18", 0.0, "several_answers"),
    ("9 * 2 = 18", "18", 0.0, "equation"),
    ("17 18", "18", 0.0, "several_answers"),
    ("17 18", "1718", 0.0, "several_answers"),
    (r"17\quad 18", "1718", 0.0, "several_answers"),
    ("17;18", "18", 0.0, "several_answers"),
    (r"\{17,18\}", "18", 0.0, "several_answers"),
    ("(17,18)", "18", 0.0, None),
    (r"17 \cup 18", "18", 0.0, None),
    (r"17\lor 18", "18", 0.0, None),
    ("18 (17)", "18", 0.0, None),
    (r"\text{either }17\text{ or }18", "18", 0.0, "several_answers"),
    (r"\pm 2", "2", 0.0, None),
    ("x > 18", "18", 0.0, None),
    # several values that the gold has, and names for them
    ("1 or 2", "1,2", 1.0, "correct"),
    ("x=1 or x=2", "1,2", 1.0, "correct"),
    ("x=1, x=2", r"1 \text{ and } 2", 1.0, "correct"),
    (r"\{1,2\}", "1,2", 1.0, "correct"),
    (r"x\in[0,1)", "[0,1)", 1.0, "correct"),
    ("a=17,b=18", "18", 0.0, "several_answers"),
    ("y=2x+1", "2x+1", 1.0, "correct"),
    ("y-2x-1=0", "y=2x+1", 1.0, "correct"),
    ("y=3x+1=2x+1", "y=2x+1", 0.0, "equation"),
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
    # expressions, matrices and sets
    (r"2\sqrt{3}", r"\sqrt{12}", 1.0, "correct"),
    (r"\sqrt{13}", r"\sqrt{12}", 0.0, "wrong_value"),
    (r"x^2+2x+1", r"(x+1)^2", 1.0, "correct"),
    (r"\frac{\pi}{2}", r"0.5\pi", 1.0, "correct"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", 1.0, "correct"),
    (r"\begin{bmatrix}1/2\\2\end{bmatrix}", r"\begin{pmatrix}\frac12\\2\end{pmatrix}", 1.0, "correct"),
    (r"\begin{pmatrix}1\\3\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", 0.0, "wrong_value"),
    (r"[2,3]\cup[0,1]", r"[0,1]\cup[2,3]", 1.0, "correct"),
    (r"(-\infty,3)", r"(-\infty,3]", 0.0, "wrong_value"),
    (r"2\pi r", r"2 r \pi", 1.0, "correct"),
    (r"\sin x \cos x", r"\cos x \sin x", 1.0, "correct"),
    (r"\log_2 8", "3", 0.0, "unevaluated"),
    ("y^3x^2", "x^2y^3", 1.0, "correct"),
    (r"2^3 \cdot 3^2", "72", 0.0, "unevaluated"),
    ("-2e^{-x^2}x", "-2xe^{-x^2}", 1.0, "correct"),
    # answers that take too much memory
    ("5^{5^{5^{5^5}}}", "18", 0.0, "too_large"),
    ("9^{9^{9}}", "18", 0.0, "too_large"),
    ("2^{99999999}", "18", 0.0, "too_large"),
    ("99999!", "18", 0.0, "too_large"),
    ("((((((" * 40, "18", 0.0, None),
    ("2003^{2002^{2001}}", "9", 0.0, "too_large"),
    ("{5^5}^{5^{5^5}}", "18", 0.0, "too_large"),
    ("5", "5^{5^{5^{5^5}}}", 0.0, "wrong_value"),
    ("9^{9^{9}}", "9^{9^9}", 1.0, "correct"),
]

MATRIX = r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"

# answer in a box, gold, score, reason
ANSWERS_OF_REVIEWS = [
    # matrices in MATH's own layout
    (MATRIX, MATRIX, 1.0, "correct"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", MATRIX, 1.0, "correct"),
    (r"\begin{bmatrix} 1 & 2 \\[2pt] 3 & 4 \end{bmatrix}", MATRIX, 1.0, "correct"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}", MATRIX, 0.0, "wrong_value"),
    ("5", MATRIX, 0.0, "wrong_value"),
    # lists whose members have three digits
    ("120, 180", "180, 120", 1.0, "correct"),
    ("10100", "10, 100", 0.0, "wrong_value"),
    ("10 or 100", "10100", 0.0, "several_answers"),
    ("10,100", "10100", 1.0, "correct"),
    ("120, 180, 120", "180, 120", 1.0, "correct"),
    ("120, 180, 240", "180, 120", 0.0, "several_answers"),
    # units
    (r"18\ \text{eggs}", "18", 1.0, "correct"),
    (r"18\,\text{cm}^2", "18", 1.0, "correct"),
    (r"\text{18 eggs}", "18", 1.0, "correct"),
    (r"18\textbf{ eggs}", "18", 1.0, "correct"),
    ("18 cm²", "18", 1.0, "correct"),
    ("18 km/h", "18", 1.0, "correct"),
    ("18°C", "18", 1.0, "correct"),
    ("x = 18 dollars", "18", 1.0, "correct"),
    ("1{,}000.99m²", "1000.99", 1.0, "correct"),
    (r"8:34 \text{ p.m.}", r"8\!:\!34 \text{ p.m.}", 1.0, "correct"),
    (r"8:34 \text{ a.m.}", r"8\!:\!34 \text{ p.m.}", 0.0, "wrong_value"),
    ("12", "12m^2", 0.0, None),
    ("x^2", "18 x^2", 0.0, None),
    # names longer than a letter
    ("(x, y) = (3, 2)", "(3,2)", 1.0, "correct"),
    ("x_1 = 3, x_2 = 5", "3,5", 1.0, "correct"),
    ("AB = 5", "5", 1.0, "correct"),
    (r"\theta = \frac{\pi}{3}", r"\frac{\pi}{3}", 1.0, "correct"),
    ("f^{-1}(x) = x+1", "x+1", 1.0, "correct"),
    (r"\text{Area} = 12", "12", 1.0, "correct"),
    (r"\angle ABC = 45^\circ", "45", 1.0, "correct"),
    ("18 = x", "18", 1.0, "correct"),
    ("2x = 18", "18", 0.0, "equation"),
    ("x + 1 = 18", "18", 0.0, "equation"),
    # relations
    ("x<=5", r"x \leq 5", 1.0, "correct"),
    ("x<=5", r"x \geq 5", 0.0, "wrong_value"),
    ("x >= 18", "18", 0.0, None),
    ("x != 3", r"x \neq 3", 1.0, "correct"),
    ("y=2x+1", "2x-y+1=0", 1.0, "correct"),
    ("2x-y+1=0", "y=2x+1", 1.0, "correct"),
    ("y=2x+2", "2x-y+1=0", 0.0, "wrong_value"),
    # read as code or as something else
    ("0x12", "0", 0.0, "unreadable"),
    ("0b10010", "0", 0.0, "unreadable"),
    ("1E9", "1000000000", 0.0, "unreadable"),
    ("1'8", "18", 0.0, "unreadable"),
    ("17\n1/1", "18", 0.0, "several_answers"),
    ("17 1/1", "18", 0.0, None),
    (r"\pm\infty", r"\mathbb{R}", 0.0, None),
    (r"(-\infty, \infty)", r"\mathbb{R}", 1.0, "correct"),
    # forms
    ("33 1/3%", r"33\frac{1}{3}\%", 1.0, "correct"),
    (r"\varnothing", r"\emptyset", 1.0, "correct"),
    ("x²+1", "x^2+1", 1.0, "correct"),
    (r"\frac1b", r"\frac{1}{b}", 1.0, "correct"),
    (r"\sin^2 t", r"\sin^2(t)", 1.0, "correct"),
    (r"(\sin t)^2", r"\sin^2 t", 1.0, "correct"),
    (r"\dfrac 3 8", r"\frac{3}{8}", 1.0, "correct"),
    (r"32,\! 349", "32349", 1.0, "correct"),
    ("{-2021, 2021}", r"\pm 2021", 1.0, "correct"),
    # operations that are not evaluated
    (r"12\times 34", "408", 0.0, "unevaluated"),
    ("2 + 2", "4", 0.0, "unevaluated"),
    ("(1+2, 3)", "(3, 3)", 0.0, "unevaluated"),
    ("2x + 4x", "6x", 0.0, "unevaluated"),
    ("2^{10}", "1024", 0.0, "unevaluated"),
    ("3(4)", "12", 0.0, "unevaluated"),
    (r"\sqrt{16}", "4", 0.0, "unevaluated"),
    (r"\log_2(4^2)", "4", 0.0, "unevaluated"),
    (r"\log_{10} 100", "2", 0.0, "unevaluated"),
    ("7!", "5040", 0.0, "unevaluated"),
    (r"\binom{8}{4}", "70", 0.0, "unevaluated"),
    (r"\gcd(36,48)", "12", 0.0, "unevaluated"),
    (r"\text{lcm}(4, 6)", "12", 0.0, "unevaluated"),
    (r"\int_0^1x^2dx", r"\frac{1}{3}", 0.0, "unevaluated"),
    (r"\lim_{x\to 0}\frac{\sin x}{x}", "1", 0.0, "unevaluated"),
    ("|-5|", "5", 0.0, "unevaluated"),
    (r"17 \bmod 5", "2", 0.0, "unevaluated"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1&0\\0&1\end{pmatrix}", MATRIX, 0.0, "unevaluated"),
    # forms that count as evaluated
    (r"\frac{36}{2}", "18", 1.0, "correct"),
    (r"3 \cdot 10^{8}", "300000000", 1.0, "correct"),
    (r"2\cdot\sqrt{3}", r"\sqrt{12}", 1.0, "correct"),
    (r"x \cdot y", "xy", 1.0, "correct"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}", 1.0, "correct"),
    (r"\frac{20+15\pi}{2}", r"10 + \frac{15}{2}\pi", 1.0, "correct"),
]

# answer in a box, gold, score, reason: found by an attacker
ANSWERS_OF_ATTACKS = [
    (r"\frac{1}{i}", "-i", 1.0, None),
    (r"\frac{1}{i}", "18", 0.0, None),
    ("0^{-1}", "1", 0.0, None),
    (r"2\mathrm{i}", "2", 0.0, None),
    (r"3+2\mathrm{i}", "3+2i", 1.0, "correct"),
    (r"2\text{x}", "2", 0.0, None),
    ("101_{10}", "101_2", 0.0, None),
    ("12_{3}5", "12", 0.0, "unreadable"),
    (r"1101_{\text{three}}", "1101_2", 0.0, None),
    (r"x \not= 18", "18", 0.0, None),
    ("not x = 18", "18", 0.0, None),
    (r"\text{wrong}=18", "18", 0.0, None),
    (r"4\frac92", "18", 0.0, "unevaluated"),
    (r"\frac12(36)", "18", 0.0, "unevaluated"),
    (r"(36)0.5", "18", 0.0, "unevaluated"),
    (r"\frac12\cdot\frac34", r"\frac38", 0.0, "unevaluated"),
    (r"i\cdot i", "-1", 0.0, "unevaluated"),
    (r"\cosh 0", "1", 0.0, "unevaluated"),
    (r"2\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}2&4\\6&8\end{pmatrix}", 0.0, None),
    ("dog, cat", "god, act", 0.0, "wrong_value"),
    (r"\text{Bob, Monica}", "Monica, Bob", 1.0, "correct"),
    (r"\text{Monica and Bob}", r"\text{Bob and Monica}", 1.0, "correct"),
    (r"x \in \{1,2\}", "1,2", 1.0, "correct"),
    (r"(x+1)\cdot(x+2)", "(x+1)(x+2)", 1.0, "correct"),
    (r"\sqrt{x}", "x^{1/2}", 1.0, "correct"),
    (r"2^{1/3}", r"\sqrt[3]{2}", 1.0, "correct"),
    ("3:30 PM", r"3:30 \text{ p.m.}", 1.0, "correct"),
    (r"204 \pmod{1000}", "204", 1.0, "correct"),
    (r"\frac12\text{ or }0.5", r"\frac12", 1.0, "correct"),
    (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", MATRIX, 1.0, "correct"),
    (r"(-\infty,+\infty)", r"\mathbb{R}", 1.0, "correct"),
    (r"{100^\circ}", r"100^\circ", 1.0, "correct"),
    (r"049 \text{ cm}^2", "49", 1.0, "correct"),
    (r"60^{\text{th}}", "60", 1.0, "correct"),
    (r"\textcolor{red}{204}", "204", 1.0, "correct"),
    ("€5", "5", 1.0, "correct"),
    ("⅓", r"\frac13", 1.0, "correct"),
    (r"0.\bar{3}", r"\frac13", 1.0, "correct"),
    (r"\lbrace 1,2\rbrace", "1,2", 1.0, "correct"),
    ("(" * 200 + "x", "x+1", 0.0, "too_large"),
    ("18 seventeen", "18", 0.0, None),
    ("(2,1)", "1,2", 0.0, "wrong_value"),
    ("x=3, y=2", "(3,2)", 1.0, "correct"),
    ("x=2, y=3", "(3,2)", 0.0, "wrong_value"),
    ("0.693147", r"\ln 2", 0.0, "wrong_value"),
    (r"\log 100", "2", 0.0, "unevaluated"),
    ("3", r"\log_2 8", 1.0, "correct"),
]

# answer in a box, gold, a question that holds the answer: "echo", and 1.0 without the question
ECHOES = [
    (r"\frac{36}{2}", "18", r"Simplify $\frac{36}{2}$."),
    ("36/2", "18", "What is 36 / 2?"),
    ("(x+1)(x+2)", "x^2+3x+2", "Expand $(x+1)(x + 2)$."),
    ("x^2-4", "(x-2)(x+2)", "Factor $x^2-4$."),
    (r"\sqrt{50}", r"5\sqrt{2}", r"Simplify $\sqrt{50}$."),
    (r"\frac{6}{8}", "0.75", r"Write $\dfrac{6}{8}$ as a decimal."),
    # in another layout or order
    ("36/48", r"\frac34", r"Simplify $\frac{36}{48}$."),
    ("(x^2-4)", "(x-2)(x+2)", "Factor $x^2-4$."),
    ("-4+x^2", "(x-2)(x+2)", "Factor $x^2-4$."),
    ("(x+2)(x+1)", "x^2+3x+2", "Expand $(x+1)(x+2)$."),
    (r"\tan x\cos x", r"\sin x", r"Simplify $\tan x\cos x$."),
    (r"0.\overline{3}", r"\frac13", r"Express $0.\overline{3}$ as a common fraction."),
]

# answers that a system of computer algebra takes seconds, minutes or forever to compare
STALLING = [
    "(1+x)^{999}",
    "2^{99!}",
    r"\int x^{999}e^xdx",
    "(9!)!",
    "1E999999999",
    "(1+x)^{99}(1-x)^{99}(2+x)^{99}",
    r"\binom{9999}{999}",
]

# github.com/huggingface/Math-Verify/issues/<number>: gold and answer as given there
MATH_VERIFY_ISSUES = [
    (14, r"\frac{1}{2006!}", r"\frac{1}{2004!}", 0.0),
    (14, r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", 0.0),
    (14, "n=1, 2, 3", "n=2, 3, 4", 0.0),
    (14, "D = (0, 1.5)", "D = (0, 1)", 0.0),
    (14, r"F_n = \sum_{k=0}^{n-2} F_k F_{n-k-2}", r"F_n = \sum_{k=0}^{n-1} F_k F_{n-k-1}", 0.0),
    (14, "21, 36, and 82", r"19, 46, \text{ and } 82", 0.0),
    (14, "82, 46, and 19", r"19, 46, \text{ and } 82", 1.0),
    (14, r"\frac{1}{3 \cdot 2^{2006}}", r"\frac{2^{2005}+1}{3 \cdot 2^{2006}}", 0.0),
    (14, r"1 + \frac{1}{\mathrm{e}}", r"1 - \frac{1}{\mathrm{e}}", 0.0),
    (14, "2021", r"\pm 2021", 0.0),
    (14, "1:00", "12:00", 0.0),
    (14, r"1, 3, 5, \ldots, 2n-1", r"1, 2, \ldots, n", 0.0),
    (14, r"1:4:9:\ldots", r"1:2:3:\ldots", None),  # math-verify cannot read this gold
    (26, "2x+4y-3=0", r"y = -\frac{1}{2}x + \frac{3}{4}", 1.0),
    (37, r"\text{13}", "13", 1.0),
    (41, r"4\sqrt(2)", "4", 0.0),
    (44, "004", "4", 1.0),
    (60, "3x + 4y + 14=0", "3*x-1*y+13=0", 0.0),
    (61, "28 pct", r"28\%", 1.0),
    (61, "28 percentage", r"28\%", 1.0),
    (63, r"\log_{2^5}(\log_{2^4}(\log_{2^3}(\log_{2^2}(\log_{2^1}x))))", "2", 0.0),
    (65, "5^{5^{5^{5^5}}}", "5", 0.0),
    (69, "pi/2", r"\dfrac{\pi}{2}", 1.0),
    (69, "-2*pi", r"-2\pi", 1.0),
    (76, "**73**", "73", 1.0),
]


@pytest.mark.parametrize("_, answer, gold, value", MATH_VERIFY_ISSUES)
def test_known_bad_inputs_of_math_verify(_, answer, gold, value):
    assert score(box(answer), solution=gold).value == value


def test_repeated_box_is_one_answer():  # Math-Verify's issue 44
    assert score(box("840") + box("840"), solution="840")[:2] == (1.0, "correct")
    assert score(box("840") + box("840"), solution="840840")[:2] == (0.0, "wrong_value")


@pytest.mark.parametrize("completion, gold, value, reason", WHERE_THE_ANSWER_IS)
def test_finds_answer_in_completion(completion, gold, value, reason):
    assert score(completion, solution=gold)[:2] == (value, reason)


@pytest.mark.parametrize("answer, gold, value, reason", ANSWERS + ANSWERS_OF_REVIEWS + ANSWERS_OF_ATTACKS)
def test_scores_an_answer_against_its_gold(answer, gold, value, reason):
    scored = score(box(answer), solution=gold)
    assert scored.value == value
    assert reason in (None, scored.reason)


@pytest.mark.parametrize(
    "solution, value",
    [
        (r"Since $1+1=2$, we get \boxed{2}.", 1.0),
        (r"\boxed{1}, no: \boxed{2}", 0.0),
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
    """The gold is a worked solution or an answer. If it cannot be read, the score is None."""
    assert score(box("2"), solution=solution).value == value


@pytest.mark.parametrize("texts", ["#### 18{}\n", r"\boxed{{18{}}} "])
def test_many_different_answers_take_milliseconds(texts):
    completion = "".join(texts.format("~" * (each % 380)) for each in range(5000))
    start = time.process_time()
    assert accuracy_reward_func.quick(completion, solution="18").value == 0.0
    assert time.process_time() - start < 0.5


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


@given(LATEX | st.text(), st.text() | st.sampled_from(["18", r"\frac{1}{2}", "(1,2)", "x+1", "1,2"]))
def test_quick_check_never_raises_and_has_declared_reasons(text, gold):
    for completion in (text, box(text), f"<answer>{text}</answer>"):
        scored = accuracy_reward_func.quick(completion, solution=gold)
        if scored is not None:
            assert scored.reason in accuracy_reward_func.spec.reasons
            assert scored.value in (None, 0.0, 1.0)


@given(LATEX, st.text(alphabet=st.characters(exclude_characters="<>\r", codec="utf-8"), max_size=30))
def test_text_after_the_last_answer_changes_nothing(start, more):
    quick = accuracy_reward_func.quick
    answered = f"{start}<answer>{start}</answer>"
    assert quick(answered, solution="18") == quick(answered + more, solution="18")


@pytest.mark.parametrize("answer, gold, question", ECHOES)
def test_expression_of_question_is_echo(answer, gold, question):
    chat = [{"role": "system", "content": "Reason."}, {"role": "user", "content": question}]
    for prompt in (question, chat):
        assert score(box(answer), solution=gold, prompt=prompt)[:2] == (0.0, "echo")
    assert score(box(answer), solution=gold).value in (0.0, 1.0)
    assert score(box(gold), solution=gold, prompt=chat)[:2] == (1.0, "correct")


@pytest.mark.parametrize(
    ("answer", "gold", "question"),
    [
        (r"\text{yes}", r"\text{Yes}", "Is 91 prime? Answer yes or no."),
        (r"3.5\text{ cm}", r"\frac{7}{2}", "The rectangle has side 3.5 and area 7."),
    ],
)
def test_word_or_number_of_question_is_no_echo(answer, gold, question):
    assert score(box(answer), solution=gold, prompt=question)[:2] == (1.0, "correct")


def test_gold_in_question_is_an_answer():
    question = r"Which is larger, $\frac{3}{4}$ or $\frac{2}{3}$?"
    assert score(box(r"\frac{3}{4}"), solution=r"\frac{3}{4}", prompt=question).value == 1.0
    assert score(box("3/4"), solution=r"\frac{3}{4}", prompt=question).value == 1.0
    tails = "Heads has the chance 1/2. What is the chance of tails?"
    assert score(box("1/2"), solution=r"\frac12", prompt=tails).value == 1.0


def test_trl_passes_the_question():
    scores = accuracy_reward_func(["Simplify 36/2."], [box("36/2")], solution=["18"])
    assert scores == [0.0]


@pytest.mark.parametrize("answer", STALLING)
@pytest.mark.parametrize("gold", ["18", "x+1", r"1:2:\int"])
def test_stalling_answer_scores_0_in_time(answer, gold):
    began = time.process_time()
    scored = score(box(answer), solution=gold)
    assert time.process_time() - began < 0.5
    assert scored.value != 1.0


@pytest.mark.parametrize(
    "solution, problem",
    [
        ("18", ""),
        (MATRIX, ""),
        (r"so \boxed{(-\infty, 3) \cup [5, \infty)}", ""),
        (r"\text{Evelyn}", ""),
        ("", "no gold answer can be read from ''"),
        (r"1:2:3:\ldots", r"the gold answer '1:2:3:\\ldots' has signs that cannot be read"),
    ],
)
def test_gold_problem(solution, problem):
    assert gold_problem(solution) == problem


def test_unreadable_gold_scores_none():
    """A run replaces None by the mean of the prompt group, so no completion may score 1.0."""
    gold = r"1:2:3:\ldots"
    answers = [gold, r"1:4:9:\ldots", "5", ""]
    scores = accuracy_reward_func([""] * 4, list(map(box, answers)), solution=[gold] * 4)
    assert 1.0 not in scores and scores[0] is None


MATH_GOLDS = json.loads((Path(__file__).parent / "math_golds.json").read_text())


def test_each_gold_of_math_equals_itself():
    """These are the different answers of MATH's training split (Hendrycks et al., MIT licence)."""
    golds = [gold for gold in MATH_GOLDS if score(box(gold), solution=gold).value != 1.0]
    assert golds == []
    assert [gold for gold in MATH_GOLDS if gold_problem(gold)] == []


@pytest.mark.parametrize(("distance", "step"), [(1, 2), pytest.param(17, 1, marks=pytest.mark.slow)])
def test_no_gold_of_math_equals_another(distance, step):
    """Except a percent, and a base that only one of the two has: 125% and 125, 10001 in base 2."""
    pairs = zip(MATH_GOLDS[::step], MATH_GOLDS[distance::step], strict=False)
    for answer, gold in pairs:
        one, other = (stated(each.partition("_")[0].rstrip("\\%")) for each in (answer, gold))
        if one != other:
            assert score(box(answer), solution=gold).value == 0.0, (answer, gold)


OUTSIDE = [json.loads(line) for line in (Path(__file__).parent / "math_verify.jsonl").read_text().splitlines()]


@pytest.mark.every(2)
@pytest.mark.parametrize("row", OUTSIDE, ids=[row["from"] for row in OUTSIDE])
def test_agrees_with_math_verifys_own_table(row):
    """The short rows of github.com/huggingface/Math-Verify/tests. `why`: the reason for another score."""
    for completion in (box(row["answer"]), f"<answer>{row['answer']}</answer>"):
        scored = score(completion, solution=row["gold"])
        if "why" in row:
            assert scored[:2] == (0.0, row["reason"])
        else:
            assert scored.value == row["math_verify"]


PARTS = st.lists(
    st.sampled_from(["120", "180", "3", r"\frac{1}{2}", r"\sqrt{2}", "-5", "x+1", "1,234"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(PARTS, PARTS, st.randoms(use_true_random=False))
def test_permuted_list_keeps_its_score(golds, answers, random):
    gold, shuffled = ", ".join(golds), random.sample(answers, len(answers))
    first, second = (score(box(", ".join(each)), solution=gold) for each in (answers, shuffled))
    assert first.value == second.value == float(set(golds) == set(answers))


UNITS = [" eggs", r"\text{ cm}", r"\ \text{eggs}", r"\,\text{cm}^2", "°C", " km/h", r"\textbf{ m}"]


@given(
    st.sampled_from(["18", "1,234", "0.5", "-7"]), st.sampled_from(["18", "1234", "0.5", "-7"]), st.sampled_from(UNITS)
)
def test_unit_keeps_the_score(answer, gold, unit):
    assert score(box(answer + unit), solution=gold).value == score(box(answer), solution=gold).value


READABLE = st.sampled_from(["18", r"\frac{1}{2}", "(1,2)", "x^2+1", "1,2", MATRIX, "x>3", r"\sin x"])


@settings(max_examples=150, deadline=None)
@given(LATEX, READABLE)
def test_every_completion_has_a_score_if_the_gold_can_be_read(text, gold):
    scored = score(box(text), solution=gold)
    assert scored.value in (0.0, 1.0)
    assert scored.value <= score(box(gold), solution=gold).value == 1.0


def same(one, other):
    return equal(*(canonical(read(text).items[0].tree) for text in (one, other)))


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_equal_compares_any_numbers(value, other):
    written = rf"\dfrac{{{value.numerator}}}{{{value.denominator}}}"
    assert same(f"{value.numerator}/{value.denominator}", written)
    assert same(f"{other.numerator}/{other.denominator}", written) is (value == other)


@pytest.mark.parametrize(
    "one, other, expected",
    [
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"-2\sqrt{3}", r"\sqrt{12}", False),
        (r"2\sqrt{3}", r"2\cdot\sqrt{3}", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        (r"\sqrt{2}\sqrt{3}", r"\sqrt{6}", True),
        (r"\sqrt{4}", "2", True),
        (r"\frac{\pi}{2}", r"0.5\pi", True),
        (r"\pi", r"-\pi", False),
        (r"\pi/2", r"\frac{\pi}{2}", True),
        (r"3\pi", "3", False),
        (r"\pi^{2}", r"\pi", False),
        ("(x+1)^{2}", "1+2x+x^{2}", True),
        ("(x+1)(x-1)", "x^{2}-1", True),
        ("2x+1", "2x+2", False),
        ("3-2i", "-2i+3", True),
        ("i^{2}", "-1", True),
        (r"\frac{bx}{h}(h-x)", r"bx-\frac{bx^{2}}{h}", True),
        ("x_1+x_2", "x_2+x_1", True),
    ],
)
def test_equal_expressions(one, other, expected):
    assert same(one, other) is expected


@pytest.mark.parametrize("text", ["0x12", r"1101_{\text{many}}", "1+", "1E9", "x+", "(1", "1)", "17 1/1", r"\unknown"])
def test_grammar_refuses_other_forms(text):
    assert any(item.is_unread for item in read(text).items)


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
def test_tuples_of_numbers(answer, gold, value):
    assert accuracy_reward_func.quick(box(answer), solution=gold).value == value

"""Answers in Chinese: full-width digits and signs, CJK punctuation, units, counters and choices."""

from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.rewards.choice import read_choice
from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from axolotl_grpo_plugin.transforms.qa import qa
from tests.rewards.helpers import lines, tagged

CONFIG = Path(__file__).parents[2] / "configs/math/qwen2.5-3b-chinese-4gpu.yaml"

# A gold, then answers that equal it.
FAIR = r"""
$$4$$ ¦ 4 ¦ ４ ¦ 4个 ¦ 4。 ¦ 共4个 ¦ $4$ ¦ x=4 ¦ \text{4个} ¦ 4\text{ 个} ¦ 4人 ¦ 4只 ¦ 4本 ¦ 4棵 ¦ 4张 ¦ 4次 ¦ 4种 ¦ 4岁
$$4$$ ¦ 4块 ¦ 4元 ¦ 4米 ¦ 4天 ¦ 4小时
18元 ¦ 18 ¦ １８元 ¦ 18 元 ¦ ￥18 ¦ ¥18 ¦ 18\text{元} ¦ 18.00元 ¦ 人民币18元
5000米 ¦ 5千米 ¦ 5 km ¦ 5000 ¦ 5000 m ¦ ５０００米 ¦ 5公里 ¦ 5000\text{ 米}
25平方厘米 ¦ 25 ¦ 25\text{ cm}^2 ¦ 25cm² ¦ 25\text{平方厘米} ¦ 25 平方厘米 ¦ 25\,\mathrm{cm}^2
60千米/时 ¦ 60 ¦ 60 km/h ¦ 60千米/小时 ¦ 60\text{ 千米/时} ¦ 60千米每小时
\frac{3}{4} ¦ 3/4 ¦ ３／４ ¦ 0.75 ¦ \dfrac{3}{4}。 ¦ 答案：\frac{3}{4} ¦ 概率为\frac{3}{4} ¦ P=\frac34
x=1,y=2 ¦ x=1，y=2 ¦ （1，2） ¦ x=1,\ y=2 ¦ ｘ＝１，ｙ＝２ ¦ x=1；y=2 ¦ \begin{cases}x=1\\y=2\end{cases}
(1,2) ¦ （1，2） ¦ (1，2) ¦ （１，２） ¦ P（1，2）
1,3 ¦ 1，3 ¦ 1或3 ¦ 1和3 ¦ 1、3 ¦ x=1或x=3 ¦ x_1=1，x_2=3 ¦ \{1，3\} ¦ 1 或 3 ¦ 1与3
30\% ¦ 30％ ¦ ３０％ ¦ 0.3 ¦ 30%
x>2 ¦ x＞2 ¦ (2,+\infty) ¦ ｘ＞２ ¦ x>2。 ¦ {x|x>2} ¦ \{x\mid x>2\}
B ¦ Ｂ ¦ (B) ¦ （B） ¦ 选B ¦ B。 ¦ B选项 ¦ \text{B} ¦ 选项B ¦ 答案是B
\text{无解} ¦ 无解 ¦ \emptyset ¦ 方程无解 ¦ \text{方程无解} ¦ 无实数解
\text{全体实数} ¦ \mathbb{R} ¦ 全体实数 ¦ 任意实数 ¦ 一切实数 ¦ (-\infty,+\infty)
3:2 ¦ 3：2 ¦ ３：２ ¦ 3∶2 ¦ 3比2
1\frac{1}{2} ¦ 1.5 ¦ \frac{3}{2} ¦ 1.5小时
120^\circ ¦ 120° ¦ 120度 ¦ 120 ¦ ∠A=120° ¦ 120\text{度}
\text{星期三} ¦ 星期三 ¦ \text{星期三。} ¦ \textbf{星期三}
甲 ¦ \text{甲} ¦ 甲。
-\frac{1}{2} ¦ －1/2 ¦ −0.5 ¦ －\frac{1}{2}
1200 ¦ 1，200 ¦ 1 200 ¦ 1200个 ¦ 1200（个） ¦ 1200(元)
3.5 ¦ ３．５ ¦ 3.5千克 ¦ 3.5公斤 ¦ 3.5吨
"""

# A gold, then answers that are wrong. Numbers in words ("四分之三") are not read.
ATTACKS = r"""
$$4$$ ¦ 5 ¦ 4或5 ¦ 4万 ¦ 4千 ¦ 4百 ¦ 4亿 ¦ 4倍 ¦ 4成 ¦ 4折 ¦ 4打 ¦ 4多 ¦ 约4.2 ¦ 不是4 ¦ 4半 ¦ 4分之一 ¦ 四十 ¦ 4、5 ¦ 40% ¦ 负4
$$4$$ ¦ 4点5
18元 ¦ 18角 ¦ 18分 ¦ 18美元 ¦ 18万元 ¦ 18千元 ¦ 18百元
5000米 ¦ 5000千米 ¦ 5000厘米 ¦ 5米 ¦ 5000平方米 ¦ 5000秒
25平方厘米 ¦ 25厘米 ¦ 25平方米 ¦ 25立方厘米 ¦ 2.5平方厘米
60千米/时 ¦ 60米/秒 ¦ 60千米 ¦ 60米/时 ¦ 60千米/秒
\frac{3}{4} ¦ 三分之四 ¦ 3：5 ¦ 四分之三或三分之四 ¦ 0.74
x=1,y=2 ¦ x=2，y=1 ¦ 2，1 ¦ x=1
1,3 ¦ 1 ¦ 1，2，3 ¦ 1到3 ¦ 13
30\% ¦ 3成半 ¦ 30‰ ¦ 3％
B ¦ A ¦ A或B ¦ ABC ¦ 不选B ¦ B或C ¦ A、B
\text{无解} ¦ 有解 ¦ 0 ¦ 有无数解 ¦ 一个解
120^\circ ¦ 120弧度 ¦ 60度 ¦ 120分
\text{星期三} ¦ 星期四 ¦ 星期三或星期四 ¦ 不是星期三
3:2 ¦ 2：3 ¦ 3：2：1
\frac{3}{4} ¦ 四分之三
"""


def box(answer):
    return rf"所以答案是 $\boxed{{{answer}}}$。"


@pytest.mark.parametrize(("gold", "answer"), lines(FAIR))
def test_pays_fair_form(gold, answer):
    assert accuracy_reward_func.score(box(answer), solution=gold)[:2] == (1.0, "correct")


@pytest.mark.parametrize(("gold", "answer"), lines(ATTACKS))
def test_does_not_pay_attack(gold, answer):
    assert accuracy_reward_func.score(box(answer), solution=gold).value == 0.0
    assert accuracy_reward_func.score(box(gold), solution=gold).value == 1.0


@pytest.mark.parametrize("answer", ["18元", "１８", "18。", "18 个", "１８．０元", "￥18", "18平方厘米"])
def test_gsm8k_reads_the_number(answer):
    assert correctness_reward_func.score(tagged(answer), answer="18").value == 2.0


@pytest.mark.parametrize("answer", ["18万", "18倍", "18或19", "十八", "不是18", "18、19"])
def test_gsm8k_reads_no_other_number(answer):
    assert correctness_reward_func.score(tagged(answer), answer="18").value == 0.0


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        ("（B）", "B"),
        ("Ｂ", "B"),
        ("B。", "B"),
        ("故选B", "B"),
        ("选项B", "B"),
        ("答案是B", "B"),
        ("正确答案：B。", "B"),
        ("B．18", "B"),
        ("A、B", "AB"),
        ("A或B", ""),
        ("不选B", ""),
    ],
)
def test_choice_reads_the_letter(answer, letters):
    assert read_choice(answer).letters == letters


def test_config_asks_in_chinese_and_pays_a_solution_that_is_an_answer_alone():
    config = yaml.safe_load(CONFIG.read_text())
    change, _ = qa(config)
    rows = change({"problem": ["1＋3＝？", "选几？"], "solution": ["$$4$$ ", "B"]}, [0, 1], None)
    assert "最终答案" in rows["prompt"][0][0]["content"]
    assert "1＋3＝？" in rows["prompt"][0][-1]["content"]
    completions = ["<think>1＋3</think>\n答案是\\boxed{４}。", "<think>甲</think>\n\\boxed{（B）}"]
    for completion, solution in zip(completions, rows["solution"], strict=True):
        assert accuracy_reward_func.score(completion, solution=solution).value == 1.0

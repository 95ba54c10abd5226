"""The scores of the GSM8K rewards: a table of completions, and properties of all completions."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import TAGS
from axolotl_grpo_plugin.reward import Score
from axolotl_grpo_plugin.rewards import gsm8k
from tests.rewards.helpers import named, tagged

REWARDS = (
    gsm8k.correctness_reward_func,
    gsm8k.int_reward_func,
    gsm8k.strict_format_reward_func,
    gsm8k.soft_format_reward_func,
    gsm8k.xmlcount_reward_func,
)


def scored(completion, answer="18"):
    found = []
    for function in REWARDS:
        columns = {"answer": answer} if function.spec.reads else {}
        found.append(function.score(completion, **columns))
    return found


def scores(completion, answer="18"):
    return [score.value for score in scored(completion, answer)]


# id, completion, gold, then correctness, int, strict, soft, xmlcount
CONTRACT = [
    ("T01 canonical", tagged("18") + "\n", "18", 2, 0.5, 0.5, 0.25, 0.5),
    ("T02 no final newline", tagged("18"), "18", 2, 0.5, 0.5, 0.25, 0.5),
    ("T03 multi-line", tagged("18", "a\n\nb\nc"), "18", 2, 0.5, 0.5, 0.25, 0.5),
    ("T04 inline", "<reasoning>a</reasoning><answer>18</answer>", "18", 2, 0.5, 0, 0.25, 0.5),
    ("T05 blank line between", tagged("18").replace("\n<answer>", "\n\n<answer>"), "18", 2, 0.5, 0, 0.25, 0.5),
    ("T06 dollar and comma", tagged("$1,000"), "1000", 2, 0, 0.5, 0.25, 0.5),
    ("T07 decimal zeros", tagged("1000.00"), "1000", 2, 0, 0.5, 0.25, 0.5),
    ("T08 full stop", tagged("18."), "18", 2, 0, 0.5, 0.25, 0.5),
    ("T09 unit", tagged("18 dollars"), "18", 2, 0, 0.5, 0.25, 0.5),
    ("T10 equation", tagged("9 * 2 = 18"), "18", 0, 0, 0.5, 0.25, 0.5),
    ("T11 wrong number", tagged("17"), "18", 0, 0.5, 0.5, 0.25, 0.5),
    ("T12 negative", tagged("-5"), "-5", 2, 0.5, 0.5, 0.25, 0.5),
    ("T14 Arabic-Indic digits", tagged("١٨"), "18", 0, 0, 0.5, 0.25, 0.5),
    ("T15 the bare answer", "18", "18", 0, 0, 0, 0, 0),
    ("T16 prose", "so the answer is 18", "18", 0, 0, 0, 0, 0),
    ("T17 truncated", tagged("18").removesuffix("\n</answer>"), "18", 0, 0, 0, 0, 0.375),
    ("T18 two answers", tagged("17") + "\n<answer>\n18\n</answer>", "18", 2, 0.5, 0, 0, 0.25),
    ("T19 wrong one last", tagged("18") + "\n<answer>\n17\n</answer>", "18", 0, 0.5, 0, 0, 0.25),
    ("T20 closed, then unclosed", tagged("18") + "\n<answer>\n17", "18", 2, 0.5, 0, 0, 0.25),
    ("T21 100 characters after", tagged("18") + "\n" + "x" * 99, "18", 2, 0.5, 0, 0, 0.401),
    ("T21b 10,000 characters after", tagged("18") + "x" * 10_000, "18", 2, 0.5, 0, 0, 0.375),
    ("T21c answer on two lines", tagged("18\n"), "18", 2, 0.5, 0, 0.25, 0.5),
    ("T22 mentions a tag", tagged("18", "in <answer> I put 18"), "18", 2, 0.5, 0, 0.25, 0.375),
    ("T23 empty tags", tagged("", ""), "18", 0, 0, 0, 0, 0),
    ("T23b empty tags and prose", tagged("", "") + "\nsome prose", "18", 0, 0, 0, 0, 0),
    ("T24 the prompt's echo", tagged("...", "..."), "18", 0, 0, 0, 0, 0),
    ("T25 hedge", tagged("17 or 18"), "18", 0, 0, 0.5, 0.25, 0.5),
    ("T26 no reasoning", tagged("18", ""), "18", 2, 0.5, 0, 0, 0.5),
    ("T27 CRLF", tagged("18").replace("\n", "\r\n"), "18", 2, 0.5, 0.5, 0.25, 0.5),
    ("T28 outer whitespace", f"\n\n {tagged('18')} \n", "18", 2, 0.5, 0.5, 0.25, 0.5),
    ("T29 upper case", tagged("18").upper(), "18", 0, 0, 0, 0, 0),
    ("T30 answer first", "<answer>18</answer><reasoning>a</reasoning>", "18", 2, 0.5, 0, 0, 0.375),
    ("T31 nothing", "", "18", 0, 0, 0, 0, 0),
    ("T33 fraction", tagged("36/2"), "18", 0, 0, 0.5, 0.25, 0.5),
    ("T34 gold with a comma", tagged("1000"), "1,000", 2, 0.5, 0.5, 0.25, 0.5),
]


@pytest.mark.parametrize(("completion", "gold", "expected"), named(CONTRACT, 2))
def test_contract(completion, gold, expected):
    assert scores(completion, gold) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("completion", "reasons"),
    [
        (tagged("18"), ["correct", "integer", "exact", "format", "all_tags"]),
        (tagged("17 kg"), ["wrong_value", "not_an_integer", "exact", "format", "all_tags"]),
        (tagged("17 or 18"), ["several_numbers", "not_an_integer", "exact", "format", "all_tags"]),
        (tagged("x"), ["not_a_number", "not_an_integer", "exact", "format", "all_tags"]),
        (tagged("..."), ["empty_answer"] * 2 + ["empty_block"] * 2 + ["all_tags"]),
        ("<answer>18", ["truncated"] * 2 + ["other_layout"] * 2 + ["some_tags"]),
        ("18", ["no_answer_tag"] * 2 + ["other_layout"] * 2 + ["no_tags"]),
        (tagged("18") + " so", ["correct", "integer"] + ["other_layout"] * 2 + ["text_after_answer"]),
        (tagged("", ""), ["empty_answer"] * 2 + ["empty_block"] * 2 + ["no_content"]),
    ],
)
def test_reasons(completion, reasons):
    assert [score.reason for score in scored(completion)] == reasons


# Answers that state 18, and answers that state another number, several numbers, or none.
PAID = r"""
18$ | 18 $ | $ 18 | $18$ | 18.00$ | 18$. | USD 18 | USD 18.00 | 18 USD | 18USD | EUR 18 | GBP 18. | INR 18 | RMB 18
€18 | 18€ | 18 £ | ¥18 | ₹18 | +18 | +$18 | $+18 | 018 | 18. | 18.0 | x = 18 | x=18 | x = 18. | x = $18 | x = 18$ | x = USD 18
x_1 = 18 | x_{1} = 18 | x_{total} = 18 | total = 18 dollars | total_cost = 18 | Answer = 18 | n=+18 | \boxed{x = 18} | $x = 18$
\boxed{18\$} | $\boxed{x=18}$ | \(x = 18\) | **x = 18** | `18$` | \text{total} = 18 | \boxed{\text{x} = 18\text{ m}}
18 seconds | 18 third graders | 18 fourth-graders | 18 two-liter bottles | 18 hundred-dollar bills | 18 miles/hour | 18 sq. ft
18 points | 18 months | 18 couples | 18 pairs of shoes | 18 times | 18 times a day | 18 times as many | 18 times per week
18 more apples | 18 years old | 18 percent | 18 km/h | 18 lbs. | 18 students | 18 root beers | 18 cents | 18 °C
"""
UNPAID = r"""
18 tens | 18 twelfths | 18 score | 18 doubled | 18 dozen | 18 dozens | 18 gross | 18 hundred | 18 half | 18 halves | 18 tripled
18 quarters | 18 quarter | 18 twice | 18 thrice | 18 double | 18 triple | 18 halved | 18 quadrupled | 18 quintupled | 18 tenfold
18 fold | 18 grand | 18 doz | 18 mil | 18 myriad | 18 zillion | 18 billions | 18 milliard | 18 ones | 18 twos | 18 twenties | 18 fifties
18 two-thirds | 18 one-half | 18 twenty-two | 18 thirds | 18 fifteenths | 18 twentieths | 18 hundredths | 18 millionths | 18 scores
18 dozen eggs | 18 Dozen | 18 TENS | 18 dozen/box | 18 baker's dozen | 18, doubled | 18 lakhs | 18 crores | 18 multiplied
18 modulo | 18 inverse | 18 times itself | 18 times that | 18 times x | 18 no | 18 never | 18 incorrect | not 18 | NOT 18 | MAX 18
not = 18 | half = 18 | dozen = 18 | wrong = 18 | 2x = 18 | x² = 18 | x = y = 18 | x == 18 | x + 1 = 18 | -x = 18 | 18 = x | = 18
x = 9*2 | x = 36/2 | x = 17 or 18 | x = 17, y = 18 | x = | x 18 | $18.5.5 | 18 $ $ | USD EUR 18 | $$18 | .18 | 18 .5 | 1.8e1 | 1,8
"""


@pytest.mark.parametrize(("answers", "score"), [(PAID, 2.0), (UNPAID, 0.0)])
def test_pays_only_answers_that_state_the_number(answers, score):
    listed = [answer.strip() for answer in answers.replace("\n", "|").split("|") if answer.strip()]
    assert len(listed) >= 60
    for answer in listed:
        found = gsm8k.correctness_reward_func.score(tagged(answer), answer="18")
        assert found.value == score, answer


def test_reads_a_decimal_without_a_leading_zero():
    for answer, gold in [(".5", "0.5"), ("-.5", "-0.5"), ("$.50", "0.5"), ("x = .5 miles", ".50"), (".5.", "0.5")]:
        assert gsm8k.correctness_reward_func.score(tagged(answer), answer=gold).value == 2.0


def test_gold_may_be_a_number():
    for gold in (18, 18.0, " 18 "):
        assert gsm8k.correctness_reward_func.score(tagged("18"), answer=gold).value == 2.0
    assert gsm8k.correctness_reward_func.score(tagged("18"), answer=["18"]) == Score(None, "bad_gold")


pieces = st.sampled_from([*TAGS, "\n", " ", "18", "17", "...", "a", "$", ",", ".", "-", "\r\n"])
texts = st.lists(pieces | st.text(max_size=5), max_size=14).map("".join)
plain = st.text(alphabet=st.characters(blacklist_characters="<>\r", codec="utf-8"), max_size=30)
words = plain.filter(lambda text: not gsm8k.is_blank(text))


@given(texts, plain)
def test_text_after_the_last_answer_never_pays(start, more):
    answered = start + "</answer>"
    for shorter, longer in zip(scores(answered), scores(answered + more), strict=True):
        assert longer <= shorter


@given(words, plain, texts)
def test_length_of_reasoning_does_not_change_score(reasoning, more, rest):
    start = "<reasoning>\n" + reasoning.strip()
    assert scores(f"{start}\n</reasoning>{rest}") == scores(f"{start} {more}.\n</reasoning>{rest}")
    backwards = f"<answer>18</answer>{start}"
    assert scores(f"{backwards}</reasoning>") == scores(f"{backwards}{more}.</reasoning>")


@given(texts, texts)
def test_right_tagged_completion_outscores_wrong_one(start, other):
    assume(scores(other)[0] == 0.0)
    wrong = sum(scores(other))
    right = [completion for _, completion, gold, correct, *_ in CONTRACT if correct == 2 and gold == "18"]
    for completion in (*right, start + "<answer>18</answer>"):
        correct, *others = scores(completion)
        assert correct == 0.0 or correct + sum(others) > wrong


@given(st.sampled_from(["", " ", "\n", "...", "\n...\n"]), st.sampled_from(["", "\n", "..."]), plain)
def test_tags_without_content_earn_nothing(reasoning, answer, after):
    empty = f"<reasoning>{reasoning}</reasoning>\n<answer>{answer}</answer>{after}"
    assert sum(scores(empty)) == 0.0

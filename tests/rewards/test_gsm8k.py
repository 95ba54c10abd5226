"""The scores of the GSM8K rewards: a table of completions, and properties of all completions."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import TAGS
from axolotl_grpo_plugin.reward import Score
from axolotl_grpo_plugin.rewards import gsm8k
from tests.rewards.helpers import tagged

REWARDS = (
    gsm8k.correctness_reward_func,
    gsm8k.int_reward_func,
    gsm8k.strict_format_reward_func,
    gsm8k.soft_format_reward_func,
    gsm8k.xmlcount_reward_func,
)


def scores(completion, answer="18"):
    columns = {"answer": answer}
    return [
        function.score(completion, **{name: columns[name] for name in function.spec.reads}).value
        for function in REWARDS
    ]


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


@pytest.mark.parametrize(
    ("completion", "gold", "expected"),
    [pytest.param(completion, gold, expected, id=name) for name, completion, gold, *expected in CONTRACT],
)
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
    columns = {"answer": "18"}
    found = [f.score(completion, **{name: columns[name] for name in f.spec.reads}).reason for f in REWARDS]
    assert found == reasons


def test_gold_may_be_a_number():
    for gold in (18, 18.0, " 18 "):
        assert gsm8k.correctness_reward_func.score(tagged("18"), answer=gold).value == 2.0
    assert gsm8k.correctness_reward_func.score(tagged("18"), answer=["18"]) == Score(None, "bad_gold")


pieces = st.sampled_from([*TAGS, "\n", " ", "18", "17", "...", "a", "$", ",", ".", "-", "\r\n"])
texts = st.lists(pieces | st.text(max_size=5), max_size=14).map("".join)
plain = st.text(alphabet=st.characters(blacklist_characters="<>\r", codec="utf-8"), max_size=30)
words = plain.filter(lambda text: text.strip() not in ("", "..."))


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
def test_right_tagged_completion_outscores_wrong_one(one, other):
    right = [*(c for _, c, gold, *e in CONTRACT if e[0] == 2 and gold == "18"), one + "<answer>18</answer>"]
    totals = [sum(scores(completion)) for completion in right if scores(completion)[0] == 2.0]
    assume(scores(other)[0] == 0.0)
    assert totals and min(totals) > sum(scores(other))


@given(st.sampled_from(["", " ", "\n", "...", "\n...\n"]), st.sampled_from(["", "\n", "..."]), plain)
def test_tags_without_content_earn_nothing(reasoning, answer, after):
    empty = f"<reasoning>{reasoning}</reasoning>\n<answer>{answer}</answer>{after}"
    assert sum(scores(empty)) == 0.0

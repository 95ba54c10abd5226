"""The scores of layouts, also of those that other libraries score wrongly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.completions import THINK_TAGS
from axolotl_grpo_plugin.rewards import format
from tests.rewards.helpers import named

STRICT = format.think_strict_format_reward_func
SOFT = format.think_soft_format_reward_func
THINK = format.think_format_reward_func
COUNT = format.tag_count_reward_func
HASHES = format.hash_format_reward_func
LAYOUTS = (STRICT, SOFT, THINK, COUNT, HASHES)


def canonical(answer="18", thinking="9 * 2 = 18"):
    return f"<think>\n{thinking}\n</think>\n<answer>\n{answer}\n</answer>"


def scores(completion, prefilled=False):
    return [each.bind(prefilled=prefilled).score(completion).value for each in LAYOUTS]


# id, completion, then strict, soft, think, tag_count, hash_format
CONTRACT = [
    ("canonical", canonical(), 1, 1, 1, 1, 0),
    ("final newline", canonical() + "\n", 1, 1, 1, 1, 0),
    ("lines of thinking (X-R1: no DOTALL)", canonical(thinking="a\n\nb\nc"), 1, 1, 1, 1, 0),
    ("lines of answer", canonical("a\nb"), 1, 1, 1, 1, 0),
    ("leading newline (TRL, think_format)", "\n" + canonical(), 1, 1, 1, 1, 0),
    ("CRLF", canonical().replace("\n", "\r\n"), 1, 1, 1, 1, 0),
    ("one line", "<think>a</think><answer>18</answer>", 0, 1, 1, 1, 0),
    ("blank line between (open-r1)", canonical().replace("\n<a", "\n\n<a"), 0, 1, 1, 1, 0),
    ("text after (open-r1: MULTILINE)", canonical() + "\nso there", 0, 0, 1, 0.992, 0),
    ("10,000 characters after", canonical() + "x" * 10_000, 0, 0, 1, 0.75, 0),
    ("second answer (open-r1: MULTILINE)", f"{canonical()}\n<answer>\n17\n</answer>", 0, 0, 1, 0.5, 0),
    ("text before", "Sure.\n" + canonical(), 0, 0, 0, 1, 0),
    ("text between", "<think>a</think>so<answer>18</answer>", 0, 0, 1, 1, 0),
    ("second </think> (TRL)", "<think>a</think>b</think>c", 0, 0, 0, 0.25, 0),
    ("mention of <think>", canonical(thinking="in <think> I"), 0, 1, 1, 0.75, 0),
    ("mention of <answer>", canonical(thinking="in <answer> I"), 0, 1, 1, 0.75, 0),
    ("<think> in the answer", "<think>a</think>b<think>", 0, 0, 0, 0.25, 0),
    ("truncated", canonical().removesuffix("\n</answer>"), 0, 0, 1, 0.75, 0),
    ("truncated thinking", "<think>\n9 * 2", 0, 0, 0, 0.25, 0),
    ("no thinking", "<answer>18</answer>", 0, 0, 0, 0.5, 0),
    ("answer first", "<answer>18</answer><think>a</think>", 0, 0, 0, 0.25, 0),
    ("no answer (open-r1's tag_count: 0.5 more)", "<think>\na\n</think>\n", 0, 0, 0, 0.5, 0),
    ("empty answer", canonical(""), 0, 0, 0, 0.5, 0),
    ("empty thinking", canonical(thinking=""), 0, 0, 0, 0.5, 0),
    ("empty thinking (TRL, Soup)", "<think></think>a", 0, 0, 0, 0, 0),
    ("thinking of a tag", "<think><think></think><answer>18</answer>", 0, 0, 0, 0.5, 0),
    ("all empty (open-r1's tag_count: 1.0)", canonical("", ""), 0, 0, 0, 0, 0),
    ("the prompt's echo", canonical("...", "..."), 0, 0, 0, 0, 0),
    ("four substrings (Axolotl's docs)", "</answer><answer></think><think>", 0, 0, 0, 0, 0),
    ("the tags backwards", "a</answer>b<answer>c</think>d<think>e", 0, 0, 0, 0, 0),
    ("full stops", canonical(".", "."), 0, 0, 0, 0, 0),
    ("a full stop as thinking", canonical(thinking="."), 0, 0, 0, 0.5, 0),
    ("a full stop as answer", canonical("."), 0, 0, 0, 0.5, 0),
    ("signs", canonical("?!", "- * _"), 0, 0, 0, 0, 0),
    ("full stops (R1)", "<think>.</think>.", 0, 0, 0, 0, 0),
    ("a digit", canonical("0", "1"), 1, 1, 1, 1, 0),
    ("other scripts", canonical("十八", "é"), 1, 1, 1, 1, 0),
    ("hashes, a full stop as thinking", "<think>.</think>#### 18", 0, 0, 0, 0, 0),
    ("hashes, a full stop as answer", "<think>a</think>#### .", 0, 0, 0, 0.5, 0),
    ("upper case", canonical().upper(), 0, 0, 0, 0, 0),
    ("no tags (verifiers: 0.2)", "9 * 2 = 18", 0, 0, 0, 0, 0),
    ("nothing (verifiers: 0.2)", "", 0, 0, 0, 0, 0),
    ("R1", r"<think>a</think>It is \boxed{18}.", 0, 0, 1, 0.5, 0),
    ("R1 without an answer (TRL)", "<think>a</think>", 0, 0, 0, 0.5, 0),
    ("hashes", "<think>a</think>#### 18", 0, 0, 1, 0.5, 1),
    ("hashes, text before", "<think>\na\n</think>\nShe makes 18.\n\n**#### $18**", 0, 0, 1, 0.5, 1),
    ("text after the hashes", "<think>a</think>#### 18\nso", 0, 0, 1, 0.5, 0),
    ("hashes twice", "<think>a</think>#### 17\n#### 18", 0, 0, 1, 0.5, 0),
    ("hashes in the line", "<think>a</think>so #### 18", 0, 0, 1, 0.5, 0),
    ("hashes without an answer", "<think>a</think>####", 0, 0, 0, 0.5, 0),
    ("hashes, the prompt's echo", "<think>...</think>#### ...", 0, 0, 0, 0, 0),
    ("hashes in the thinking", "<think>#### 18</think>it is 18", 0, 0, 1, 0.5, 0),
    ("hashes without thinking", "#### 18", 0, 0, 0, 0, 0),
]


@pytest.mark.parametrize(("completion", "expected"), named(CONTRACT, 1))
def test_contract(completion, expected):
    assert scores(completion) == pytest.approx(expected)
    assert scores([{"role": "assistant", "content": completion}]) == pytest.approx(expected)


AFTER_THINK = []
for name, completion, *expected in CONTRACT:
    rest = completion.strip().removeprefix("<think>\n")
    if rest != completion.strip():
        AFTER_THINK.append((name, rest, *expected))


@pytest.mark.parametrize(("completion", "expected"), named(AFTER_THINK, 1))
def test_prefilled_completion_needs_no_opening_tag(completion, expected):
    strict, soft, think, _, hashes = expected
    found = scores(completion, prefilled=True)
    assert [*found[:3], found[4]] == [strict, soft, think, hashes]


# A completion after `<think>\n`: id, completion, then as above
PREFILLED = [
    ("canonical", "9 * 2\n</think>\n<answer>\n18\n</answer>", 1, 1, 1, 1, 0),
    ("opened once more", "<think>\na\n</think>\n<answer>\n18\n</answer>", 0, 1, 1, 1, 0),
    ("opened once more, empty", "<think>\n</think>\n<answer>\n18\n</answer>", 0, 0, 0, 2 / 3, 0),
    ("nothing thought", "</think>\n<answer>\n18\n</answer>", 0, 0, 0, 2 / 3, 0),
    ("R1", "a</think>It is 18.", 0, 0, 1, 1 / 3, 0),
    ("hashes", "a\n</think>\n#### 18", 0, 0, 1, 1 / 3, 1),
    ("never closed", "a", 0, 0, 0, 0, 0),
    ("no thinking", "<answer>18</answer>", 0, 0, 0, 2 / 3, 0),
    ("nothing", "", 0, 0, 0, 0, 0),
]


@pytest.mark.parametrize(("completion", "expected"), named(PREFILLED, 1))
def test_prefilled(completion, expected):
    assert scores(completion, prefilled=True) == pytest.approx(expected)


# id, completion, gold, score, reason, text that was read
HASHED = [
    ("canonical", "<think>\na\n</think>\n#### 18", "18", 1, "correct", "18"),
    ("no space (verl)", "####18", "18", 1, "correct", "18"),
    ("dollar (verl)", "#### $18", "18", 1, "correct", "$18"),
    ("bold (verl)", "#### **18**", "18", 1, "correct", "18"),
    ("all bold", "**#### 18**", "18", 1, "correct", "18"),
    ("full stop (verl)", "#### 18.", "18", 1, "correct", "18."),
    ("decimals (verl)", "#### 18.00", "18", 1, "correct", "18.00"),
    ("comma (verl, flexible)", "#### 1,000", "1000", 1, "correct", "1,000"),
    ("unit", "#### 18 dollars", "18", 1, "correct", "18 dollars"),
    ("boxed", r"#### \boxed{18}", "18", 1, "correct", r"\boxed{18}"),
    ("310 characters after (verl)", "#### 18\n" + "x" * 310, "18", 1, "correct", "18"),
    ("numbers on the next line (ms-swift)", "#### 18\n2 more", "18", 1, "correct", "18"),
    ("and on the same", "#### 18 2 more", "182", 0, "several_numbers", "18 2 more"),
    ("wrong", "#### 17", "18", 0, "wrong_value", "17"),
    ("near (unsloth: 10% off earns)", "#### 95", "100", 0, "wrong_value", "95"),
    ("negative", "#### -5", "-5", 1, "correct", "-5"),
    ("twice the same", "#### 18\n#### 18.0", "18", 1, "correct", "18.0"),
    ("a hedge", "#### 17\n#### 18", "18", 0, "several_answers", ""),
    ("a hedge, the right one first", "#### 18\n#### 17", "18", 0, "several_answers", ""),
    ("a hedge in the line", "#### 17 or 18", "18", 0, "several_numbers", "17 or 18"),
    ("an expression", "#### 9 * 2 = 18", "18", 0, "several_numbers", "9 * 2 = 18"),
    ("headings", "#### Step 1\na\n#### Answer\n#### 18", "18", 1, "correct", "18"),
    ("a heading after", "#### 18\n#### Check", "18", 1, "correct", "18"),
    ("numbered headings", "#### 1. Find it\na\n#### 2) Check\n#### 18", "18", 1, "correct", "18"),
    ("numbered headings alone", "#### 1. Find it", "1", 0, "not_a_number", "1. Find it"),
    ("headings alone", "#### Answer\n18", "18", 0, "not_a_number", "Answer"),
    ("five of them", "##### 18", "18", 1, "correct", "18"),
    ("a comma alone (verl, flexible)", "#### ,", ",", None, "bad_gold", ""),
    ("no hashes", "18", "18", 0, "no_answer", ""),
    ("empty", "so\n####", "18", 0, "empty_answer", ""),
    ("a full stop", "#### .", "18", 0, "not_a_number", "."),
    ("the prompt's echo", "#### ...", "18", 0, "empty_answer", ""),
    ("only in the thinking", "<think>#### 18</think>", "18", 0, "no_answer", ""),
    ("other ones in the thinking", "<think>#### 17</think>#### 18", "18", 1, "correct", "18"),
    ("thinking cut off", "<think>\n#### 18", "18", 0, "truncated", ""),
    ("thinking once more", "<think>a</think><think>#### 18", "18", 0, "truncated", ""),
    ("nothing", "", "18", 0, "no_answer", ""),
    ("a worked solution as gold", "#### 18", "9 * 2 = 18\n#### 18", 1, "correct", "18"),
    ("a number as gold", "#### 18", 18, 1, "correct", "18"),
    ("no gold", "#### 18", "?", None, "bad_gold", ""),
]


@pytest.mark.parametrize(("completion", "gold", "expected"), named(HASHED, 2))
def test_hash_correctness(completion, gold, expected):
    assert format.hash_correctness_reward_func.score(completion, answer=gold) == tuple(expected)
    chat = [{"role": "assistant", "content": completion}]
    assert format.hash_correctness_reward_func.score(chat, answer=gold) == tuple(expected)


def test_unclosed_prefilled_reasoning_has_no_answer():
    function = format.hash_correctness_reward_func.bind(prefilled=True)
    assert function.score("so far #### 18", answer="18") == (0.0, "truncated", "")
    assert function.score("a</think>#### 18", answer="18") == (1.0, "correct", "18")


@pytest.mark.parametrize(
    ("completion", "reasons"),
    [
        (canonical(), ["exact", "format", "format", "all_tags", "other_layout"]),
        (canonical("", ""), ["empty_block"] * 2 + ["empty_block", "no_tags", "other_layout"]),
        ("<think>a</think>", ["other_layout"] * 2 + ["empty_block", "some_tags", "other_layout"]),
        (canonical() + "x", ["other_layout"] * 2 + ["format", "text_after_answer", "other_layout"]),
        ("<think>a</think>####", ["other_layout"] * 2 + ["empty_block", "some_tags", "empty_block"]),
        (canonical(".", "."), ["empty_block"] * 3 + ["no_tags", "other_layout"]),
        ("<think>.</think>#### 18", ["other_layout"] * 2 + ["empty_block", "no_tags", "empty_block"]),
    ],
)
def test_reasons(completion, reasons):
    assert [each.score(completion).reason for each in LAYOUTS] == reasons


pieces = st.sampled_from([*THINK_TAGS, "\n", " ", "18", "...", "a", "####", "#", "*", "\r\n"])
texts = st.lists(pieces | st.text(max_size=5), max_size=14).map("".join)
plain = st.text(alphabet=st.characters(blacklist_characters="<>#\r", codec="utf-8"), max_size=30)
words = plain.filter(lambda text: any(map(str.isalnum, text)))


@given(texts)
def test_strict_layout_passes_soft_and_think(completion):
    strict, soft, think, *_ = scores(completion)
    assert strict <= soft <= think


@given(texts, plain)
def test_text_after_the_last_answer_never_pays(start, more):
    """Only in layouts that end in `</answer>`. In DeepSeek-R1's layout this text is the answer."""
    answered = start + "</answer>"
    for each in (STRICT, SOFT, COUNT):
        assert each.score(answered + more).value <= each.score(answered).value


@given(words, plain, texts)
def test_length_of_reasoning_does_not_change_score(thinking, more, rest):
    start = "<think>\n" + thinking.strip()
    assert scores(f"{start}\n</think>{rest}") == scores(f"{start} {more}.\n</think>{rest}")

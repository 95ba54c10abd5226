"""The verifiable instructions of IFEval: responses that follow each, and responses that only seem to."""

import json

import pytest

from axolotl_grpo_plugin.rewards.dispatch import dispatch
from axolotl_grpo_plugin.rewards.ifeval.instructions import INSTRUCTIONS, count_sentences
from axolotl_grpo_plugin.rewards.instructions import instructions_reward_func as reward

NO_COMMA = "punctuation:no_comma"
WORDS = "length_constraints:number_words"
ENGLISH = "The quick brown fox jumps over the lazy dog and then it sleeps all day."
# An instruction, its parameters, responses that follow it, and responses that do not.
TABLE = [
    ("keywords:existence", {"keywords": ["hen", "egg"]},
     ["A Hen lays eggs."], ["A hen.", "HE N and egg", "..."]),
    ("keywords:frequency", {"keyword": "hen", "frequency": 2, "relation": "at least"},
     ["Hen and hens"], ["a hen"]),
    ("keywords:frequency", {"keyword": "a.b", "frequency": 1, "relation": "less than"},
     ["none", "axb"], ["a.b"]),
    ("keywords:forbidden_words", {"forbidden_words": ["hen", "c++"]},
     ["then a henhouse"], ["a Hen.", "I like C++."]),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": "at least"},
     ["eEe"], ["ee"]),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": "less than"},
     ["calm"], ["calm!"]),
    ("language:response_language", {"language": "de"},
     ["Das ist ein Satz über Hühner und ihre Eier."], [ENGLISH, "12345"]),
    ("language:response_language", {"language": "zh"},
     ["这是一个关于母鸡和鸡蛋的句子。"], [ENGLISH]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"},
     ["It is Dr. Smith. He has 3.5 eggs.", "One! Two?", 'He said "Go." She went', "第一句。第二句。"],
     ["It is Dr. Smith, e.g. the old one.", "one\ntwo\nthree", "Go. . . ."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"},
     ["One."], ["One. Two."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2},
     ["a\n***\nb", "***\na\n***\nb\n***", "a *** b"], ["a\n\nb", "a\n***", "a\n***\n***\nb", "a\n***\nb\n***\nc"]),
    (WORDS, {"num_words": 3, "relation": "at least"},
     ["one two three", "it's ok"], ["one two", "... - ..."]),
    (WORDS, {"num_words": 3, "relation": "less than"},
     ["one two"], ["one two three"]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "hens"},
     ["a\n\nHens lay.", 'a\n\n"hens", he said', "a\n\n\n\nhens"], ["a\nhens", "a\n\nhensfoot", "a\n\nThe hens", "a\n\nhens\n\nb"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2},
     ["To [name] at [address]"], ["To [name]", "[] []", "[ ] [...]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."},
     ["Bye.\nP.S. Write soon", "Bye. p. s. write"], ["Bye.", "Bye.\nP.S.", "Bye.\nP.P.S. Write soon"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"},
     ["Bye.\nP.P.S. Write", "P.P.S write"], ["P.S. write"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2},
     ["* a\n* b", "Points:\n- a\n\n  * b"], ["* a", "* a\n* b\n- c", "*a*\n*b*", "* \n- ", "***\n---", "a\n* b"]),
    ("detectable_format:constrained_response", {},
     ["My answer is yes.", "I think: My answer is maybe."],
     ["yes", "My answer is yes. My answer is no.", "my answer is"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2},
     ["*one* and **two**", "* a *b* c\n* *d*"], ["*one*", "** ** * *", "* a\n* b", "2 * 3 * 4"]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     ["SECTION 1\na\nSECTION 2\nb", "Intro\n\n**SECTION 1:** a\n**SECTION 2:** b"],
     ["SECTION 1\na", "SECTION 1\na\nSECTION 1\nb", "SECTION 1\nSECTION 2", "Section 1 a Section 2 b"]),
    ("detectable_format:json_format", {},
     ['{"a": 1}', '```json\n["a"]\n```', '```\n{"a": 1}\n```'], ['It is {"a": 1}', "a", '"a"', "{'a': 1}", '{"a": NaN}']),
    ("detectable_format:title", {},
     ["<<poem of joy>>\n\nJoy."], ["poem of joy", "<<>> a", "<< >> a", "<poem>", "<<poem\nof joy>>"]),
    ("combination:two_responses", {},
     ["a\n******\nb", "******\na\n******\nb"], ["a\n***\nb", "a\n******\na", "a\n******", "a\n******\nb\n******\nc"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem. Use no comma."},
     ["Write a poem. Use no comma.\n\nJoy.", "write a poem. use no comma. Joy"],
     ["Write a poem. Use no comma.", "Sure! Write a poem. Use no comma. Joy.", "Joy."]),
    ("startend:end_checker", {"end_phrase": "Is there anything else?"},
     ["Done. is there anything else?", '"Done. Is there anything else?"'], ["Is there anything else? Bye", "Done."]),
    ("startend:quotation", {},
     ['"Hello there"'], ['"Hello', 'Hello "there"', '"']),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
     ["I LIKE hens", "A U.S. flag"], ["Only ONE", "No One"]),
    ("change_case:english_capital", {},
     [ENGLISH.upper()], [ENGLISH, "DAS IST EIN SATZ ÜBER HÜHNER UND IHRE EIER."]),
    ("change_case:english_lowercase", {},
     [ENGLISH.lower()], [ENGLISH, "das ist ein satz über hühner und ihre eier."]),
    (NO_COMMA, {}, ["a and b"], ["a, b", "一，二"]),
]  # fmt: skip


def scored(completion, ids, parameters, function=reward, **row):
    return function.score(completion, instruction_id_list=ids, kwargs=parameters, **row)[:2]


def test_the_table_has_all_25_instructions():
    assert {name for name, *_ in TABLE} == {*INSTRUCTIONS}
    assert len(INSTRUCTIONS) == 25


@pytest.mark.parametrize("name, parameters, right, wrong", TABLE)
def test_instruction(name, parameters, right, wrong):
    filled = {"keywords": None, "num_words": None, **parameters, "letter": parameters.get("letter")}
    for text in right:
        assert scored(text, [name], [parameters]) == (1, "followed"), text
        assert scored(f"<think>\n, \n</think>\n{text}", [name], [filled]) == (1, "followed"), text
        assert scored(f"<answer>{text}</answer>", json.dumps([name]), json.dumps([filled])) == (1, "followed"), text
    for text in wrong:
        value, reason = scored(text, [name], [parameters])
        assert value == 0 and reason in (name, "no_answer"), text


@pytest.mark.parametrize("text, count", [
    ("", 0), ("Hi...", 1), ("1. Eat.\n2. Drink.", 2), ("J. R. Smith eats.", 1), ("Really?! Yes.", 2), ("No. It is not.", 2),
    ("See https://a.b/c.html now.", 1), ("(It is so.) Yes.", 2),
])  # fmt: skip
def test_count_of_sentences(text, count):
    assert count_sentences(text) == count


BOTH = [NO_COMMA, WORDS], [{}, {"num_words": 3.0, "relation": "at least"}]


@pytest.mark.parametrize(
    "completion, strict, partial, reason",
    [
        ("one two three", 1, 1, "followed"),
        ("one, two, three", 0, 0.5, NO_COMMA),
        ("one two", 0, 0.5, WORDS),
        ("one, two", 0, 0, NO_COMMA),
        ("", 0, 0, "no_answer"),
        ("...", 0, 0, "no_answer"),
        ("<answer></answer>", 0, 0, "empty_answer"),
        ("<answer>one two three", 0, 0, "truncated"),
        ("<think>\none two three", 0, 0, "truncated"),
        ("word " * 50_000, 0, 0, "too_long"),
    ],
)
def test_all_instructions_or_the_share_of_them(completion, strict, partial, reason):
    assert scored(completion, *BOTH) == (strict, reason)
    assert scored(completion, *BOTH, function=reward.bind(partial=True)) == (partial, reason)


def test_repeating_the_prompt_is_no_response():
    prompt = [{"role": "user", "content": "Write one two three times. Use no comma."}]
    for text in (prompt[0]["content"], "Write one two three times."):
        assert scored(text, *BOTH, prompt=prompt) == (0, "echo")
        assert scored(text, *BOTH, prompt=prompt[0]["content"]) == (0, "echo")
    assert scored("one two three", *BOTH, prompt=prompt) == (1, "followed")


@pytest.mark.parametrize(
    "ids, parameters, problem",
    [
        ([], [], "no instruction in instruction_id_list"),
        (None, [{}], "no instruction in instruction_id_list"),
        ("no list", [{}], "no instruction in instruction_id_list"),
        ([NO_COMMA], [], "1 instructions, but 0 entries in kwargs"),
        ([NO_COMMA], "no list", "1 instructions, but 0 entries in kwargs"),
        (["count:person_names"], [{}], "unknown instruction: count:person_names"),
        ([[NO_COMMA]], [{}], "unknown instruction: ['punctuation:no_comma']"),
        ([WORDS], [{"relation": "at least"}], f"{WORDS}: num_words is None"),
        ([WORDS], [{"relation": "at least", "num_words": 2.5}], f"{WORDS}: num_words is 2.5"),
        ([WORDS], [{"relation": "around", "num_words": 3}],
         f"{WORDS}: relation 'around' is none of at least, less than, at most, exactly"),
        (["keywords:existence"], [{"keywords": []}], "keywords:existence: keywords is []"),
        (["keywords:existence"], [None], "keywords:existence: keywords is None"),
    ],
)  # fmt: skip
def test_instruction_that_cannot_be_checked_has_no_score_and_says_why(ids, parameters, problem):
    assert reward.row_problem({"instruction_id_list": ids, "kwargs": parameters}) == problem
    assert scored("one two three", ids, parameters) == (None, "bad_gold")


def test_rows_of_reasoning360_by_dispatch():
    ids, parameters = BOTH
    routed = dispatch()
    row = {
        "data_source": "ood__ifeval",
        "ground_truth": json.dumps(parameters),
        "extra_info": json.dumps({"instruction_id_list": ids}),
    }
    assert routed.score("one two three", **row)[:2] == (1, "followed")
    assert routed.gold_problem(**row) == ""
    assert routed.gold_problem(**row | {"extra_info": "{}"}) == "no instruction in instruction_id_list"

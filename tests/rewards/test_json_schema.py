"""JSON by a schema: the forms of a document, the rules of the standard, and schemas that cannot be used."""

import json

import pytest

from axolotl_grpo_plugin.rewards.json_schema import json_schema_reward_func as reward

PERSON = {
    "type": "object",
    "properties": {
        "age": {"type": "integer"},
        "price": {"type": "number", "multipleOf": 0.01},
        "born": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "required": ["age"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "minLength": 1}},
}
TREE = {"type": "array", "items": {"$ref": "#"}}
RIGHT = '{"age": 7}'


def scored(completion, schema=PERSON, **row):
    return reward.score(completion, schema=schema, **row)[:2]


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)], ids=["object", "text"])
@pytest.mark.parametrize(
    "completion",
    [
        RIGHT,
        f"\n{RIGHT}\r\n",
        f"```json\n{RIGHT}\n```",
        f"```\n{RIGHT}\n```",
        f"Here it is:\n\n```JSON\n{RIGHT}\n```\nDone.",
        f"```python\nprint(1)\n```\n```json\n{RIGHT}\n```",
        f'```json\n{{"age": "draft"}}\n```\nBetter:\n```json\n{RIGHT}\n```',
        f"<answer>{RIGHT}</answer>",
        f"<answer>\n```json\n{RIGHT}\n```\n</answer>",
        f"<reasoning>\nIt is 7.\n</reasoning>\n<answer>\n{RIGHT}\n</answer>",
        f"<think>\n{{}}\n</think>\n{RIGHT}",
        '{"age": 7.0}',
        '{"age": 7, "price": 19.99}',
        '{"age": 7, "tags": ["```json", "<answer>", "</think >"]}',
        '```json\n{"age": 7, "tags": ["```"]}\n```',
        '{"age": 7, "born": "2026-11-25T21:30:00Z"}',
    ],
)
def test_document_in_each_form(completion, schema):
    assert scored(completion, schema) == (1, "valid")


@pytest.mark.parametrize(
    "completion, reason",
    [
        ("", "no_answer"),
        ("It is 7.", "no_answer"),
        (f"Here it is: {RIGHT}", "no_answer"),
        (f"{RIGHT} is it.", "not_json"),
        (f"{RIGHT}\n{RIGHT}", "not_json"),
        ("{'age': 7}", "not_json"),
        ('{"age": 7,}', "not_json"),
        ('{"age": 7 // years\n}', "not_json"),
        ('{"age": 7', "not_json"),
        ('{"age": 7, "age": 8}', "not_json"),
        ('{"age": 7, "price": NaN}', "not_json"),
        ('{"age": 7, "price": 1e999}', "not_json"),
        ("[" * 100_000, "not_json"),
        ("9" * 300_000, "too_long"),
        (f"```json\n{RIGHT}", "truncated"),
        (f"<answer>{RIGHT}", "truncated"),
        (f"<reasoning>\n{RIGHT}", "truncated"),
        (f"<think>\n```json\n{RIGHT}\n```", "truncated"),
        ("<answer></answer>", "empty_answer"),
        ("<answer>It is 7.</answer>", "not_json"),
        (f"<answer>7</answer> {RIGHT}", "invalid"),
        ("{}", "invalid"),
        ("null", "invalid"),
        ('{"age": "7"}', "invalid"),
        ('{"age": true}', "invalid"),
        ('{"age": 7.5}', "invalid"),
        ('{"age": 7, "name": "Tom"}', "invalid"),
        ('{"age": 7, "price": 19.999}', "invalid"),
        ('{"age": 7, "tags": ["a", "a"]}', "invalid"),
        ('{"age": 7, "tags": [""]}', "invalid"),
        ('{"age": 7, "born": "yesterday"}', "invalid"),
    ],
)
def test_other_documents_earn_nothing(completion, reason):
    assert scored(completion) == (0, reason)


def test_open_thinking_of_the_prompt_is_truncated():
    assert scored(RIGHT, prompt_opens="<think>") == (0, "truncated")


def test_a_document_that_is_deeper_than_the_validator_can_go_earns_nothing():
    assert scored("[[[]]]", TREE) == (1, "valid")
    assert scored("[" * 900 + "]" * 900, TREE) == (0, "too_deep")


def test_nulls_that_arrow_fills_in_are_no_keywords():
    filled = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer", "minimum": None}}}
    assert scored(RIGHT, filled) == (1, "valid")


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_the_schema_names_its_draft(draft):
    schema = {"$schema": draft, "type": "array", "items": [{"type": "string"}]}
    if "07" in draft:
        assert scored('["a"]', schema) == (1, "valid")
        assert scored("[1]", schema) == (0, "invalid")
    else:  # `items` is no list in it
        assert scored('["a"]', schema) == (None, "bad_gold")


@pytest.mark.parametrize(
    "schema, problem",
    [
        ("", "the schema is not JSON"),
        ("{'type': 'object'}", "the schema is not JSON"),
        ("[]", "the schema is not a JSON object"),
        ("true", "the schema is not a JSON object"),
        (5, "the schema is neither JSON text nor an object"),
        ([], "the schema is neither JSON text nor an object"),
        ({}, "the schema takes every value"),
        ({"title": "anything"}, "the schema takes every value"),
        ({"type": "objekt"}, "the schema is wrong: 'objekt' is not valid under any of the given schemas"),
        ({"pattern": "("}, "the schema is wrong: '(' is not a 'regex'"),
        ({"$ref": "#"}, "the schema refers to itself without an end"),
        ({"properties": {"age": {"$ref": "#/$defs/age"}}}, "the schema refers to '/$defs/age', which it does not have"),
        (
            {"$ref": "http://127.0.0.1:9/schema"},
            "the schema refers to 'http://127.0.0.1:9/schema', which it does not have",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_has_no_score_and_says_why(schema, problem):
    assert reward.row_problem({"schema": schema}) == problem
    for completion in (RIGHT, "", "null"):
        assert scored(completion, schema) == (None, "bad_gold")


def test_a_schema_may_ask_for_a_schema():
    wanted = {"type": "object", "required": ["type"], "$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert scored('{"type": "integer"}', wanted) == (1, "valid")
    assert scored('{"type": "whole"}', wanted) == (0, "invalid")


def test_row_of_another_task():
    assert reward.row_problem({"schema": None}) == ""
    assert scored(RIGHT, None) == (None, "not_this_task")

r"""Structured output: a JSON document that a JSON Schema describes.

`structured.documents.find_document` finds the document after the thinking: all of the text, or the body of
`<answer>`, or a Markdown fence. The `jsonschema` package decides whether it is valid (`structured.schemas`).
"""

from typing import Any

from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.structured.documents import PROBLEMS, find_document
from axolotl_grpo_plugin.rewards.structured.schemas import BadSchema, read_schema


def _row_problem(schema: Any) -> str:
    try:
        read_schema(schema)
    except BadSchema as error:
        return str(error)
    return ""


@reward(
    range=(0.0, 1.0),
    reads="schema",
    reasons=("valid", "invalid", "too_deep", *PROBLEMS, "bad_gold"),
    row_problem=_row_problem,
)
def json_schema_reward_func(completion: str, schema: Any) -> Score:
    """Return 1.0 if the completion is a JSON document that the schema of its row describes, else 0.0.

    Args:
        schema: The JSON Schema, as JSON text or as an object. `$schema` names its draft, and the default is 2020-12.
            Write text if a value of the schema is null, because Arrow fills an object with nulls. If the schema
            cannot be used, the score is None.

    Source: the task of NeMo Gym's `structured_outputs`, and the contract of this module.

    >>> wanted = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    >>> json_schema_reward_func(["", ""], ['{"age": 7}', '{"age": "7"}'], schema=[wanted, wanted])
    [1.0, 0.0]
    """
    try:
        validator = read_schema(schema)
    except BadSchema:
        return Score(None, "bad_gold")
    document = find_document(completion)
    if document.problem:
        return Score(0.0, document.problem, document.text)
    try:
        is_valid = validator.is_valid(document.value)
    except RecursionError:
        return Score(0.0, "too_deep", document.text)
    return Score(float(is_valid), "valid" if is_valid else "invalid", document.text)

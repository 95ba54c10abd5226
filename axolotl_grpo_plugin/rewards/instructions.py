"""Instructions that a program can check: number of words, keywords, layout, language.

A row names the instructions of IFEval (`ifeval.instructions`) that its prompt gives, with their parameters. The response
is the text after the thinking, or the body of `<answer>` if the completion has that tag.
"""

import functools
import json
from collections.abc import Mapping
from inspect import signature
from typing import Any

from axolotl_grpo_plugin.completions import Completion, find_answer, turns_of
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.ifeval.instructions import (
    INSTRUCTIONS,
    RELATIONS,
    Check,
    has_content,
)
from axolotl_grpo_plugin.rewards.mathematics.values import normal, read_object
from axolotl_grpo_plugin.thinking import after_thinking

_LONGEST = 200_000  # characters of a response
IDS = "instruction_id_list"


class BadInstruction(ValueError):
    """A row's instructions cannot be checked. The message says why."""


def _row_problem(kwargs: Any, instruction_id_list: Any = None, extra_info: Any = None) -> str:
    try:
        read_instructions(kwargs, instruction_id_list, extra_info)
    except BadInstruction as error:
        return str(error)
    return ""


@reward(
    range=(0.0, 1.0),
    reads="kwargs",
    may_read=(IDS, "extra_info", "prompt"),
    reasons=(
        "followed",
        *INSTRUCTIONS,
        "echo",
        "no_answer",
        "truncated",
        "empty_answer",
        "too_long",
        "bad_gold",
    ),
    row_problem=_row_problem,
    row_columns=("kwargs", IDS, "extra_info"),
)
def instructions_reward_func(
    completion: str,
    kwargs: Any,
    instruction_id_list: Any = None,
    extra_info: Any = None,
    prompt: Completion | None = None,
    partial: bool = False,
) -> Score:
    """Return 1.0 if the response follows all instructions of its row, else 0.0.

    The reason is the first instruction that it does not follow, so the run has a curve for each.

    Args:
        kwargs: The parameters of each instruction, in order: a list of objects, or its JSON text.
        instruction_id_list: The instructions, such as "keywords:existence": a list, or its JSON text. If one is
            unknown or lacks a parameter, the score is None.
        extra_info: The object that has the list in Reasoning360's rows.
        prompt: A response that only repeats a half of it, or more, earns 0.0.
        partial: Pay the share of the instructions that are followed.

    Source: the descriptions in IFEval's paper (https://arxiv.org/abs/2311.07911), and the contract of this module.

    >>> row = {"instruction_id_list": ["length_constraints:number_words"]}
    >>> row["kwargs"] = [{"num_words": 3, "relation": "at least"}]
    >>> columns = {name: [value] * 2 for name, value in row.items()}
    >>> instructions_reward_func(["", ""], ["Three words follow.", "None"], **columns)
    [1.0, 0.0]
    """
    try:
        checks = read_instructions(kwargs, instruction_id_list, extra_info)
    except BadInstruction:
        return Score(None, "bad_gold")
    stated = find_answer(completion, ["tag"])
    if stated.text is None and stated.problem != "no_answer_tag":
        return Score(0.0, stated.problem)
    text = stated.text if stated.text is not None else after_thinking(completion).strip()
    if not has_content(text):
        return Score(0.0, "no_answer")
    if len(text) > _LONGEST:
        return Score(0.0, "too_long")
    if _is_echo(text, prompt):
        return Score(0.0, "echo", text)
    missed = [name for name, check in checks if not check(text)]
    if not missed:
        return Score(1.0, "followed", text)
    return Score(1 - len(missed) / len(checks) if partial else 0.0, missed[0], text)


def _is_echo(text: str, prompt: Completion | None) -> bool:
    """Return whether a response is a half of a prompt's turn, or more of it."""
    turns = turns_of(prompt) if prompt else []
    response = normal(text)
    for turn in [*turns, "\n".join(turns)]:
        asked = normal(turn)
        if asked and len(response) * 2 >= len(asked) and response in asked:
            return True
    return False


def read_instructions(
    kwargs: Any, instruction_id_list: Any, extra_info: Any = None
) -> list[tuple[str, Check]]:
    """Return the name and the check of each instruction of a row.

    Raises:
        BadInstruction: One is unknown, or lacks a parameter.
    """
    ids = instruction_id_list
    if ids is None:
        ids = read_object(extra_info).get(IDS)
    names = _list_of(ids)
    parameters = _list_of(kwargs)
    if not names:
        raise BadInstruction(f"no instruction in {IDS}")
    if len(names) != len(parameters):
        raise BadInstruction(f"{len(names)} instructions, but {len(parameters)} entries in kwargs")
    return [_instruction(*pair) for pair in zip(names, parameters, strict=True)]


def _list_of(value: Any) -> list[Any]:
    """Return a list, or the one that a JSON text states; [] for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return list(value) if isinstance(value, list | tuple) else []


def _instruction(name: Any, parameters: Any) -> tuple[str, Check]:
    """Return the name and the check of an instruction with its parameters. Others, which Arrow fills in, are left out."""
    if not isinstance(name, str) or name not in INSTRUCTIONS:
        raise BadInstruction(f"unknown instruction: {name}")
    check = INSTRUCTIONS[name]
    given = parameters if isinstance(parameters, Mapping) else {}
    bound = {}
    for parameter, declared in [*signature(check).parameters.items()][1:]:
        value = given.get(parameter)
        if isinstance(value, float) and value.is_integer():  # Arrow has no whole number beside null
            value = int(value)
        if not _is_of_kind(value, declared.annotation):
            raise BadInstruction(f"{name}: {parameter} is {value!r:.50}")
        if parameter.endswith("relation") and value not in RELATIONS:
            raise BadInstruction(
                f"{name}: {parameter} {value!r:.50} is none of {', '.join(RELATIONS)}"
            )
        bound[parameter] = value
    return name, functools.partial(check, **bound)


def _is_of_kind(value: Any, kind: object) -> bool:
    """Return whether a value is a whole number, a text or a list of texts that is not empty."""
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str) and bool(value.strip())
    texts = value if isinstance(value, list | tuple) else []
    return bool(texts) and all(_is_of_kind(text, str) for text in texts)

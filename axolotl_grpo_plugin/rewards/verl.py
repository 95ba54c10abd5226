"""Use reward functions written for verl or xLR: `compute_score(solution_str, ground_truth, ...)`."""

import json
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.reward import (
    OPENS,
    Options,
    Range,
    Reward,
    Score,
    check_options,
    required,
    reward,
)
from axolotl_grpo_plugin.rewards.mathematics.values import is_number

_OF_VERL = ("data_source", "extra_info")  # verl passes these if a function takes them


def from_compute_score(
    function: str, range: Range = (0.0, 1.0), arguments: Options | None = None, decode: bool = False
) -> Reward:
    """Return the score of a verl reward function, or None for a row without its columns.

    Args:
        function: The dotted path of `compute_score`. Its `solution_str` is the completion. Its other
            parameters without a default are dataset columns (`ground_truth`, or xLR's names). If it takes
            `data_source` or `extra_info` (a dict), it also gets these.
        range: The lowest and the highest score. A score outside counts as a failure.
        arguments: Values for its parameters with a default (`method`, `format_score`, ...).
        decode: Decode the columns from JSON text. The transform `axolotl_grpo_plugin.verl` writes a ground
            truth as JSON if it is not text.

    The function returns a number, a bool, a dict with "score", or a list that begins with the score.

    Source: https://verl.readthedocs.io/en/latest/preparation/reward_function.html

    Raises:
        FindingError: If the function has no `solution_str`, or if the range is not [lowest, highest].
        TypeError: If the function cannot be imported, or if an argument is unknown.

    >>> made = from_compute_score("my_task.compute_score", arguments={"method": "flexible"})  # doctest: +SKIP
    """
    is_pair = len(range) == 2 and all(map(is_number, range))
    if not is_pair or not range[0] < range[1]:
        what = f"{range!r} is not [lowest, highest]"
        stop("wrong-option", "range", what, "Write two numbers in this order")
    module, _, name = function.rpartition(".")
    try:
        compute_score = getattr(import_module(module), name)
    except Exception as error:
        raise TypeError(f"function: {function}: {type(error).__name__}: {error}") from error
    parameters = signature(compute_score).parameters
    if "solution_str" not in parameters:
        stop(
            "wrong-option",
            function,
            "it has no parameter solution_str",
            "Name a function that verl could call: compute_score(solution_str, ground_truth, ...)",
        )
    options = dict(arguments or {})
    check_options(function, parameters, options)
    reads = required(compute_score, "solution_str", *_OF_VERL, *options)
    takes = [name for name in _OF_VERL if name in parameters and name not in options]

    def scorer(completion: str, **columns: Any) -> Score:
        row = {**columns}
        del row[OPENS]  # verl's functions get the completion alone
        if decode:
            row |= {name: json.loads(row[name]) for name in reads}
        if isinstance(row.get("extra_info"), str):
            row["extra_info"] = json.loads(row["extra_info"])
        return _score(compute_score(solution_str=completion, **row, **options))

    scorer.__name__, scorer.__doc__ = name, compute_score.__doc__
    limits = float(range[0]), float(range[1])
    return reward(range=limits, reads=reads, may_read=[*takes, OPENS])(scorer)


def _score(result: Any) -> Score:
    if isinstance(result, Mapping):
        return Score(float(result["score"]), "", str(result.get("pred", "")))
    if isinstance(result, (list, tuple)):
        result = result[0]
    return Score(float(result), "")

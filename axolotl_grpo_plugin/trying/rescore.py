"""Score the rows of a file, for example of a rollout log, with rewards that a command names."""

import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import tee
from typing import Any

from axolotl_grpo_plugin.completions import Names
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, FindingError, nearest, stop
from axolotl_grpo_plugin.load import (
    Columns,
    RewardRef,
    RewardRefs,
    function_at,
    is_model,
    load_reward,
    made_reward,
    missing_column,
    not_ready,
)
from axolotl_grpo_plugin.reward import OF_TRL, BaseReward, GroupReward, Reward, Row, parameters_of
from axolotl_grpo_plugin.runlog.reader import group_of
from axolotl_grpo_plugin.runlog.schema import COLUMN
from axolotl_grpo_plugin.scoring.guard import GuardedReward, failure_of, is_failed
from axolotl_grpo_plugin.scoring.guards import Guards, ScoringSettings
from axolotl_grpo_plugin.scoring.worker import Outcome

BATCH_SECONDS = 120.0  # of wall time for a batch of about 64 completions


def named_rewards(keys: Names, words: Names) -> RewardRefs:
    """Return the rewards of a command line, after a trial load.

    Args:
        keys: The values of --reward.
        words: The values of --arg, name=value. The value is JSON, or text if it is no JSON. Each
            goes to all rewards that have the parameter.

    Raises:
        FindingError: A reward or a parameter is unknown, or a reward cannot be made.
    """
    given: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            stop("no-value", f"--arg {word}", "not an argument", "Write it as name=value")
        given[name] = value
        with suppress(ValueError):  # text that is no JSON
            given[name] = json.loads(value)
    parameters = {key: _parameters(key) for key in keys}
    known = set[str]().union(*parameters.values())
    for name in given:
        if name not in known:
            stop(
                "unknown-parameter",
                f"--arg {name}",
                "no reward has this parameter",
                nearest(name, known),
            )
    rewards = []
    for key in keys:
        taken = parameters[key] & given.keys()
        reward = RewardRef.of(key, {name: given[name] for name in taken})
        made = made_reward(reward, f"--reward {key}")
        if isinstance(made, Finding):
            raise FindingError(made._replace(code="cannot-be-made"))
        rewards.append(reward)
    return rewards


def _parameters(key: str) -> set[str]:
    """Import the reward and return the names of its parameters."""
    where = f"--reward {key}"
    path = RewardRef(key).path
    if is_model(path) or "." not in path:
        stop(
            "not-a-path",
            where,
            "not a path",
            "Write it as module.function, or as `axolotl-grpo reward list` prints it",
        )
    function = function_at(path, where)
    if isinstance(function, Finding):
        raise FindingError(function._replace(code="unknown-function"))
    if isinstance(function, BaseReward):
        return set(function.options)
    return parameters_of(function).keys() - OF_TRL


def rescored(
    references: RewardRefs, rows: Iterable[Row], names: Columns, column: str = "completion"
) -> Generator[tuple[str, Iterator[tuple[Row, Outcome]]]]:
    """Yield the key of each reward with the scores of the rows in their order, which are made as they are read.

    Args:
        references: The rewards.
        rows: The rows, which are read once per reward. The columns of the dataset may have the log's prefix.
        names: The columns of all rows.
        column: The column of the completions.

    Raises:
        FindingError: A reward is not ready, reads a column that no row has, or scores no completion
            of a batch, for example because it loops.
    """
    settings = replace(
        ScoringSettings.of(Config({})), batch_timeout=BATCH_SECONDS * len(references)
    )
    names = list(_columns(dict.fromkeys(names), column))
    for reference in references:
        check_scorable(reference, names)
    with closing(Guards(references, settings)) as guards:
        for key, guard in guards.guards.items():
            if isinstance(guard.function, GroupReward):
                yield key, _scored_by_group(guard, rows, names, column)
            else:
                yield key, _scored(guard, rows, names, column)


def _scored_by_group(
    guard: GuardedReward, rows: Iterable[Row], names: Columns, column: str
) -> Iterator[tuple[Row, Outcome]]:
    """Yield the rows with their scores. The rows of a group may be far apart, so that all are in memory."""
    kept = list(rows)
    groups: defaultdict[object, list[int]] = defaultdict(list)
    for index, row in enumerate(kept):
        groups[group_of(row)].append(index)
    outcomes: dict[int, Outcome] = {}
    for indices in groups.values():
        scored = _scored(guard, [kept[index] for index in indices], names, column)
        outcomes |= zip(indices, [outcome for _, outcome in scored], strict=True)
    for index, row in enumerate(kept):
        yield row, outcomes[index]


def _scored(
    guard: GuardedReward, rows: Iterable[Row], names: Columns, column: str
) -> Iterator[tuple[Row, Outcome]]:
    """Yield the rows with their scores, until all completions of a batch fail."""
    read, again = tee(rows)
    pairs = ((_columns(row, column), row[column]) for row in read)
    for outcomes in guard.score_batches(pairs, names):
        if all(map(is_failed, outcomes)):
            failure = failure_of(guard, outcomes[0])
            # One call of a function of the whole batch raised one error.
            which = "all" if isinstance(guard.function, Reward) else "the batch of"
            fix = failure.fix
            # Only a completion without a prompt of messages stays text.
            if "TypeError: string indices must be integers" in failure.what:
                fix = (
                    "This reward expects chat messages. Write each completion as "
                    '[{"role": "assistant", "content": "..."}]'
                )
            stop(
                "reward-fails",
                f"--reward {guard.reward.key}",
                f"it failed for {which} {len(outcomes)} completions: {failure.what}",
                fix,
            )
        for outcome in outcomes:
            yield next(again), outcome


def _columns(row: Row, column: str) -> Row:
    """Return a row as the transform made it, without the completion."""
    logged, dataset = {}, {}
    for name, value in row.items():
        if name.startswith(COLUMN):
            dataset[name.removeprefix(COLUMN)] = value
        elif name != column:
            logged[name] = value
    return {**logged, **dataset}


def check_scorable(reward: RewardRef, names: Columns, filled: Columns = ()) -> None:
    """Raise FindingError if no row has a column that the reward reads, or if the reward is not ready.

    Args:
        reward: The reward.
        names: The columns of the rows.
        filled: The names of columns that TRL adds.
    """
    where = f"--reward {reward.key}"
    function = load_reward(reward)
    finding = missing_column(function, names, where, filled)
    if finding:
        raise FindingError(finding)
    if reason := not_ready(function):
        stop("not-ready", where, reason, "")

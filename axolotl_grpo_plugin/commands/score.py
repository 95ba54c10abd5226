"""`axolotl grpo score`: what rewards give for completions that are there, without a training."""

import asyncio
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from inspect import Parameter, signature
from itertools import count, islice
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from axolotl_grpo_plugin import paths, rollouts
from axolotl_grpo_plugin.commands.rewards import WIDTH, modules
from axolotl_grpo_plugin.findings import Finding, first_line, nearest
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward
from axolotl_grpo_plugin.modules import functions_of, imported
from axolotl_grpo_plugin.reward import BaseReward, GroupReward, PlainReward, Reward, as_score
from axolotl_grpo_plugin.scoring.worker import to_outcome

SHOWN = 56  # characters of what was read

Row = dict[str, Any]


class Scored(NamedTuple):
    """What a reward gave for one completion.

    row: its number in the file, from 0. score: None for "not scored". read: the part that was judged.
    error: what the reward raised, or returned instead of a score, else "".
    """

    row: int
    score: float | None
    reason: str
    read: str
    error: str


def run(
    file: str,
    *,
    rewards: Sequence[str],
    arguments: Sequence[str],
    column: str,
    limit: int | None,
    as_json: bool,
) -> int:
    """Score and show; the exit code: 1 where a completion could not be scored for an error."""
    paths.add_working_folder()
    functions = _functions(rewards, arguments)
    rows = list(islice(_read(file), limit))
    if not rows:
        raise click.ClickException(f"{file}: no rows. Look at what wrote it")
    if not any(column in row for row in rows):
        raise click.ClickException(
            f"{file}: no column {column!r} (it has: {_listed(rows)}). Name that of the completions "
            "with --column"
        )
    for number, row in enumerate(rows):
        if not isinstance(row.get(column), str | list):
            said = repr(row.get(column))[:60]
            raise click.ClickException(
                f"{file}, row {number}, column {column!r}: neither text nor chat messages: {said}"
            )
    scored = {name: _score(name, function, rows, column) for name, function in functions.items()}
    if as_json:
        click.echo(json.dumps([_plain(*each) for each in scored.items()], indent=2))
    else:
        for name, each in scored.items():
            _show(name, each, functions[name].spec.range)
    return int(any(one.error for each in scored.values() for one in each))


def _functions(rewards: Sequence[str], arguments: Sequence[str]) -> dict[str, BaseReward]:
    """The reward functions by what names them, options set. Each argument is set where it is known."""
    given = dict(map(_argument, arguments))
    unknown = set(given)
    functions = {}
    for key in rewards:
        path = RewardRef(key).path
        module_name, _, name = path.rpartition(".")
        if is_model(key) or not module_name:
            raise click.ClickException(
                f"--reward {key}: not a path. Write it as module.function; "
                "`axolotl grpo rewards` lists them"
            )
        module = imported(module_name, f"--reward {key}")
        if isinstance(module, Finding):
            if not module.detail:  # there is none
                module = module._replace(fix=nearest(module_name, modules()))
            raise click.ClickException(str(module))
        if not hasattr(module, name):
            there = functions_of(module) or [each for each in dir(module) if each[0] != "_"]
            what = f"no {name!r} in {module_name}"
            raise click.ClickException(str(Finding(f"--reward {key}", what, nearest(name, there))))
        known = _options(getattr(module, name))
        own = {name: value for name, value in given.items() if name in known or len(rewards) == 1}
        unknown -= set(own)
        try:
            functions[key] = load_reward(RewardRef.of(key, own))
        except TypeError as error:
            raise click.ClickException(f"--reward {key}: {error}. Set it with --arg") from error
        except Exception as error:
            what = f"cannot be made: {type(error).__name__}: {first_line(error)}"
            raise click.ClickException(f"--reward {key}: {what}") from error
    if unknown:
        raise click.ClickException(f"--arg {min(unknown)}: none of the rewards has this parameter")
    return functions


def _options(function: Any) -> set[str]:
    known = function.options if isinstance(function, BaseReward) else {}
    return set(known or signature(function).parameters)


def _argument(said: str) -> tuple[str, Any]:
    """`name=value` as a pair; the value as JSON has it, else as text."""
    name, equals, value = said.partition("=")
    if not equals or not name:
        raise click.ClickException(f"--arg {said}: write it as name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _read(file: str) -> Iterator[Row]:
    """The rows of JSON lines ("-" is the standard input), of a Parquet file, or of a folder of them."""
    if file == "-":
        yield from _lines(sys.stdin, "the standard input")
        return
    path = Path(file)
    if path.is_dir():
        files = rollouts.files_of(path)
        if not files:
            raise click.ClickException(
                f"{file}: no Parquet files there. Name a run's output_dir (with `grpo_rollouts: true`, "
                "or `log_completions: true`), or a file"
            )
        for each in files:
            yield from _parquet(each)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    else:
        with path.open(encoding="utf-8-sig") as lines:
            yield from _lines(lines, file)


def _lines(lines: Any, where: str) -> Iterator[Row]:
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise click.ClickException(f"{where}, line {number}: no JSON: {error}") from error
            if not isinstance(row, dict):
                raise click.ClickException(f"{where}, line {number}: no JSON object: {line[:60]!r}")
            yield row
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{where}: no UTF-8: {error}") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    try:
        yield from rollouts.read(path)
    except (pa.ArrowException, OSError) as error:
        raise click.ClickException(f"{path}: no Parquet: {first_line(error)}") from error


def _score(name: str, function: Any, rows: list[Row], column: str) -> list[Scored]:
    """The reward's scores, in the rows' order. ClickException where it cannot be called."""
    names = dict.fromkeys(each for row in rows for each in row)
    columns = {each: [row.get(each) for row in rows] for each in names if each != column}
    for missing in sorted(_needs(function) - columns.keys()):
        fix = f"The file has: {', '.join(columns) or 'nothing else'}"
        if missing == "completion_ids":
            fix = (
                "Those are token ids, lists of whole numbers, which no log holds: write JSON lines"
            )
        raise click.ClickException(f"--reward {name} reads {missing!r}, which is not there. {fix}")
    try:
        function.ready()
    except RuntimeError as error:
        raise click.ClickException(f"--reward {name}: {error}") from error
    prompts = columns.pop("prompt", [None] * len(rows))
    # As TRL has it: the answer to a chat is a chat.
    completions = [
        [{"role": "assistant", "content": row[column]}]
        if isinstance(prompt, list) and isinstance(row[column], str)
        else row[column]
        for row, prompt in zip(rows, prompts, strict=True)
    ]
    if isinstance(function, Reward):
        each = function.rows(prompts, completions, columns)
        return [_one(function, *one) for one in zip(count(), completions, each, strict=False)]
    scored: list[tuple[int, Any]] = []
    for places in _batches(function, rows):
        batch = {key: [values[place] for place in places] for key, values in columns.items()}
        batch |= {"prompts": [prompts[place] for place in places]}
        batch |= {"completions": [completions[place] for place in places]}
        scored += zip(places, _call(name, function, batch, len(places)), strict=True)
    return [_scored(function, *each) for each in sorted(scored, key=itemgetter(0))]


def _needs(function: Any) -> set[str]:
    """The columns that it cannot do without."""
    if not isinstance(function, PlainReward):
        # A reward of a group must know the group.
        return {*function.spec.reads, *(["prompt"] if _is_of_groups(function) else [])}
    required = {
        each.name
        for each in signature(function.function).parameters.values()
        if each.default is Parameter.empty
        and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }
    return required - {"prompts", "completions", *_STANDING_IN}


def _is_of_groups(function: Any) -> bool:
    return isinstance(function, GroupReward)


def _batches(function: Any, rows: list[Row]) -> Iterable[list[int]]:
    """The rows that are scored together, by their numbers: all, or those of a prompt in a step."""
    if not _is_of_groups(function):
        return [list(range(len(rows)))]
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        group = [row.get(name) for name in ("attempt", "step", "prompt")]
        groups.setdefault(json.dumps(group, default=str), []).append(number)
    return groups.values()


def _one(function: Any, number: int, completion: Any, columns: Row) -> Scored:
    try:
        result = function.score(completion, **columns)
    except Exception:  # of a reward of one's own: shown in its row
        return Scored(number, None, "error", "", traceback.format_exc())
    return _scored(function, number, result)


def _call(name: str, function: Any, batch: dict[str, Any], rows: int) -> list[Any]:
    """What the reward returns for a batch, each held to be a Score, a number or None."""
    try:
        results = function.scores(**batch, **_STANDING_IN)
        results = list(asyncio.run(results) if function.is_async else results)
    except Exception as error:  # of a reward of one's own
        what = (
            f"--reward {name} raised {type(error).__name__}: {first_line(error)}. It was given "
            "completions as the file has them, and as chats where `prompt` is one."
        )
        raise click.ClickException(f"{what}\n\n{traceback.format_exc()}") from error
    if len(results) != rows:
        what = f"returned {len(results)} scores for {rows} completions"
        raise click.ClickException(f"--reward {name} {what}")
    return results


# What TRL passes beside the columns, of a training that is not there.
_STANDING_IN: dict[str, Any] = {
    "trainer_state": SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
    "log_extra": lambda column, values: None,
    "log_metric": lambda name, value: None,
}


def _scored(function: Any, number: int, result: Any) -> Scored:
    outcome = to_outcome(result, function.spec.range)
    reason = "error" if outcome.error else outcome.reason
    return Scored(number, outcome.value, reason, as_score(result).read, outcome.error)


def _mean(scored: list[Scored]) -> float | None:
    values = [each.score for each in scored if each.score is not None]
    return fmean(values) if values else None


def _reasons(scored: list[Scored]) -> dict[str, float]:
    """The share of the completions that has each reason, the most frequent first."""
    said = Counter(each.reason for each in scored if each.reason)
    return {reason: times / len(scored) for reason, times in said.most_common()}


def _plain(name: str, scored: list[Scored]) -> dict[str, Any]:
    return {
        "reward": name,
        "mean": _mean(scored),
        "without_score": sum(each.score is None for each in scored),
        "reasons": _reasons(scored),
        "scores": [each._asdict() for each in scored],
    }


def _show(name: str, scored: list[Scored], range: tuple[float, float] | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{name}, {range[0]:g} .. {range[1]:g}" if range else name
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("row", justify="right")
    made.add_column("score", justify="right")
    made.add_column("reason")
    made.add_column("read", no_wrap=True)
    for each in scored:
        value = "none" if each.score is None else f"{each.score:g}"
        last = each.error.strip().splitlines()[-1] if each.error else each.read
        made.add_row(str(each.row), value, Text(each.reason), Text(_short(last)))
    console = Console()
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text(title, style="bold"))
    console.print(made)
    mean, without = _mean(scored), sum(each.score is None for each in scored)
    line = f"{len(scored):,} completions" + ("" if mean is None else f", mean {mean:.4g}")
    console.print(line + (f", {without:,} without a score" if without else ""), highlight=False)
    for reason, share in _reasons(scored).items():
        console.print(Text(f"  {share:6.1%}  {reason}"))
    if wrong := next((each.error for each in scored if each.error), None):
        click.echo(f"\nThe first error:\n{wrong.rstrip()}", err=True)


def _short(text: str) -> str:
    """On one line, without what a terminal would obey."""
    line = "".join(c if c.isprintable() else " " for c in text[:1000])
    return shorten(line, SHOWN, placeholder=" …")


def _listed(rows: list[Row]) -> str:
    return ", ".join(dict.fromkeys(name for row in rows for name in row)) or "none"

"""`axolotl grpo score`: score the completions of a file with rewards, without a training."""

import asyncio
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, NamedTuple

import click
from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.commands import replay
from axolotl_grpo_plugin.commands.rewards import (
    REQUIRED,
    both_ends,
    console,
    in_one_line,
    modules,
    options_of,
)
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.findings import Finding, first_line, nearest
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward
from axolotl_grpo_plugin.modules import functions_of, imported
from axolotl_grpo_plugin.reward import BaseReward, GroupReward, PlainReward, Reward, as_score
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.runlog.schema import COLUMN
from axolotl_grpo_plugin.scoring.worker import to_outcome

Row = dict[str, Any]

SHOWN = 20  # rows of the table

# TRL also passes these. Here there is no training.
_OF_TRAINING: dict[str, Any] = {
    "trainer_state": SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
    "log_extra": lambda column, values: None,
    "log_metric": lambda name, value: None,
}
_OF_TRL = {"prompts", "completions", *_OF_TRAINING}


class Scored(NamedTuple):
    """The result for one completion.

    row: its number in the file, from 0. score: None if the completion was not scored. read: the
    part of the completion that was judged. error: why the reward failed, else "".
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
    against: str = "",
    weights: Sequence[str] = (),
) -> int:
    """Score the rows and print the scores. Return the exit code: 1 if a reward failed, else 0.

    against, weights: compare with other scores instead (replay.py).
    """
    paths.add_working_folder()
    functions = load(rewards, arguments)
    rows = list(islice(_read(file), limit))
    if not rows:
        raise click.ClickException(f"{file}: no rows. Check the program that wrote it")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if column not in columns:
        raise click.ClickException(
            f"{file}: no column {column!r} (it has: {', '.join(columns) or 'none'}). Name the column "
            "of the completions with --column"
        )
    for number, row in enumerate(rows):
        if not isinstance(row.get(column), str | list):
            value = repr(row.get(column))[:60]
            raise click.ClickException(
                f"{file}, row {number}, column {column!r}: neither text nor chat messages: {value}"
            )
    columns.remove(column)
    if against or weights:
        return _replay(rows, column, columns, rewards, arguments, against or replay.LOG, weights, as_json)  # fmt: skip
    scored = {
        key: score(key, function, rows, column, columns) for key, function in functions.items()
    }
    if as_json:
        click.echo(json.dumps([_plain(*each) for each in scored.items()], indent=2))
    else:
        for key, each in scored.items():
            _show(key, each, functions[key].spec.range, [row[column] for row in rows])
    return int(any(one.error for each in scored.values() for one in each))


def _replay(
    rows: list[Row],
    column: str,
    columns: list[str],
    rewards: Sequence[str],
    arguments: Sequence[str],
    against: str,
    weights: Sequence[str],
    as_json: bool,
) -> int:
    """Compare the rewards, or the log's own with other weights, with the scores of `against`."""
    rows = [row for row in rows if not row.get("discarded")]
    names = replay.logged_names(rows)
    if "prompt" not in columns or not rows:
        raise click.ClickException("--against compares prompt groups, but the file has no `prompt`")
    if not names and (against == replay.LOG or not rewards):
        raise click.ClickException(
            "The file has no scores of a run. Name a run with grpo_rollouts: true, or two rewards"
        )
    if against == replay.LOG and "attempt" not in columns:
        click.echo(
            "TRL's completions lack the weights of the run. Each weight counts as 1.", err=True
        )
    failed = False

    def scores_of(key: str, function: BaseReward) -> replay.Scores:
        nonlocal failed
        scored = score(key, function, rows, column, columns)
        failed = failed or any(each.error for each in scored)
        return replay.Scores([each.score for each in scored], [each.reason for each in scored])

    if against == replay.LOG or against in names:
        old = replay.logged(rows, against)
    else:
        old = scores_of(against, load([against], [])[against])
    groups = replay.groups_of(rows)
    short = [each.rpartition(".")[2] for each in rewards]
    changes, new = [], old
    for variant in _variants(arguments) if rewards else [()]:
        if rewards:
            own = [scores_of(*each) for each in load(rewards, variant).items()]
        else:
            own = [replay.logged(rows, name) for name in names]
        for each in weights or [""]:
            new = replay.weighted(own, each)
            label = " ".join([*variant, *([f"weights {each}"] if each else [])])
            changes.append(replay.change(label or ", ".join(short), old, new, groups))
    if as_json:
        click.echo(json.dumps([each._asdict() for each in changes], indent=2))
    else:
        replay.show(against, changes)
        if len(changes) == 1:
            replay.show_flips(old, new, [row[column] for row in rows])
    return int(failed)


def _variants(arguments: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield each combination of the values of repeated arguments."""
    values: dict[str, list[str]] = {}
    for each in arguments:
        values.setdefault(each.partition("=")[0], []).append(each)
    return product(*values.values())


def load(rewards: Sequence[str], arguments: Sequence[str]) -> dict[str, BaseReward]:
    """Return the rewards by their --reward."""
    return {key: load_reward(each) for key, each in references(rewards, arguments).items()}


def references(
    rewards: Sequence[str],
    arguments: Sequence[str],
    known_arguments: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, RewardRef]:
    """Return the rewards by their --reward, after a trial load.

    Each --arg goes to all rewards that have the parameter. known_arguments: of a config, by reward.
    """
    given = dict(map(_argument, arguments))
    parameters = {key: _parameters(key) for key in rewards}
    known = set[str]().union(*parameters.values())
    if unknown := given.keys() - known:
        name = min(unknown)
        what, fix = "no reward has this parameter", nearest(name, known)
        raise click.ClickException(str(Finding(f"--arg {name}", what, fix)))
    found = {}
    for key in rewards:
        own = {name: value for name, value in given.items() if name in parameters[key]}
        found[key] = RewardRef.of(key, {**(known_arguments or {}).get(key, {}), **own})
        try:
            load_reward(found[key])
        except TypeError as error:
            what, _, fix = str(error).partition(". ")
            line = Finding(f"--reward {key}", what, fix or "Set it with --arg")
            raise click.ClickException(str(line)) from error
        except Exception as error:  # of a user's factory
            what = f"cannot be made: {type(error).__name__}: {first_line(error)}"
            raise click.ClickException(f"--reward {key}: {what}") from error
    return found


def _parameters(key: str) -> set[str]:
    """Import the reward and return the names of its parameters."""
    path = RewardRef(key).path
    module_name, _, name = path.rpartition(".")
    if is_model(key) or not module_name:
        raise click.ClickException(
            f"--reward {key}: not a path. Write it as module.function; "
            "`axolotl grpo rewards` lists them"
        )
    module = imported(module_name, f"--reward {key}")
    if isinstance(module, Finding):
        if not module.detail:  # the module is missing
            module = module._replace(fix=nearest(module_name, modules()))
        raise click.ClickException(str(module))
    if not hasattr(module, name):
        public = [each for each in dir(module) if not each.startswith("_")]
        fix = nearest(name, functions_of(module) or public)
        what = f"no {name!r} in {module_name}"
        raise click.ClickException(str(Finding(f"--reward {key}", what, fix)))
    function = getattr(module, name)
    if isinstance(function, BaseReward):
        return set(function.options)
    return options_of(function).keys() - _OF_TRL


def _argument(text: str) -> tuple[str, Any]:
    """Split `name=value`. The value is JSON, or text if it is no JSON."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.ClickException(f"--arg {text}: write it as name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def counted_files(path: str) -> list[Path]:
    """Return the files that count of a run's rollouts, and say how many rollouts are left out."""
    files = rollout_files(Path(path))
    if note := files.note():
        click.echo(note, err=True)
    return files.counted


def _read(file: str) -> Iterator[Row]:
    """Yield the rows of JSON lines ("-": standard input), of a Parquet file, or of a run's folder."""
    path = Path(file)
    if file == "-":
        yield from _lines(sys.stdin, "standard input")
    elif path.is_dir() or path.suffix == ".parquet":
        files = counted_files(file)
        if not files:
            raise click.ClickException(
                f"{file}: no Parquet files there. Name a run's output_dir (with `grpo_rollouts: true`, "
                "or `log_completions: true`), or a file"
            )
        for each in files:
            yield from _parquet(each)
    else:
        with path.open(encoding="utf-8-sig") as lines:
            yield from _lines(lines, file)


def _lines(lines: Iterable[str], where: str) -> Iterator[Row]:
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise click.ClickException(f"{where}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                what = f"not a JSON object: {line[:60]!r}"
                raise click.ClickException(f"{where}, line {number}: {what}")
            yield row
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{where}: not UTF-8: {error}") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    try:
        yield from read(path)
    except (pa.ArrowException, OSError) as error:
        raise click.ClickException(f"{path}: not Parquet: {first_line(error)}") from error


def score(
    key: str, function: BaseReward, rows: list[Row], column: str, names: list[str]
) -> list[Scored]:
    """Return the reward's scores in the order of the rows."""
    # A column of the dataset replaces the log's own of that name.
    columns = {name.removeprefix(COLUMN): [row.get(name) for row in rows] for name in names}
    for name in sorted(_required(function) - columns.keys()):
        fix = f"The file has: {', '.join(columns) or 'nothing else'}"
        if name == "completion_ids":
            fix = "No log has token ids (lists of whole numbers): write JSON lines"
        elif "advantage" in names and "attempt" not in names:  # TRL's completions/
            fix = "TRL's completions lack the dataset's columns. Train with grpo_rollouts: true"
        raise click.ClickException(f"--reward {key} reads {name!r}, which is missing. {fix}")
    try:
        function.ready()
    except RuntimeError as error:
        raise click.ClickException(f"--reward {key}: {error}") from error
    prompts = columns.pop("prompt", [None] * len(rows))
    # In TRL the completion of a chat is a chat.
    completions = [
        [{"role": "assistant", "content": row[column]}]
        if isinstance(prompt, list) and isinstance(row[column], str)
        else row[column]
        for row, prompt in zip(rows, prompts, strict=True)
    ]
    if isinstance(function, Reward):
        read = function.rows(prompts, completions, columns)
        pairs = enumerate(zip(completions, read, strict=True))
        return [_score_one(function, number, *each) for number, each in pairs]
    results: dict[int, Any] = {}
    for places in _batches(function, rows):
        batch = {name: [values[place] for place in places] for name, values in columns.items()}
        batch["prompts"] = [prompts[place] for place in places]
        batch["completions"] = [completions[place] for place in places]
        results |= zip(places, _call(key, function, batch), strict=True)
    return [_scored(function, number, results[number]) for number in range(len(rows))]


def _required(function: BaseReward) -> set[str]:
    """Return the columns that the reward cannot do without."""
    if isinstance(function, GroupReward):
        return {*function.spec.reads, "prompt"}
    if not isinstance(function, PlainReward):
        return set(function.spec.reads)
    options = options_of(function.function)
    return {name for name, default in options.items() if default is REQUIRED} - _OF_TRL


def _batches(function: BaseReward, rows: list[Row]) -> Iterable[list[int]]:
    """Return the numbers of the rows that are scored together: each prompt group, or all rows."""
    if not isinstance(function, GroupReward):
        return [list(range(len(rows)))]
    return replay.groups_of(rows)


def _score_one(function: Reward, number: int, completion: Any, columns: Row) -> Scored:
    try:
        result = function.score(completion, **columns)
    except Exception:  # of a user's reward: shown in its row
        return Scored(number, None, "error", "", traceback.format_exc())
    return _scored(function, number, result)


def _call(key: str, function: BaseReward, batch: dict[str, Any]) -> list[Any]:
    """Return the reward's result for each completion of a batch."""
    try:
        results = function.scores(**batch, **_OF_TRAINING)
        results = list(asyncio.run(results) if function.is_async else results)
    except Exception as error:  # of a user's reward
        raise click.ClickException(
            f"--reward {key} raised {type(error).__name__}: {first_line(error)}. It was given the "
            "file's completions, as chats if `prompt` is a chat."
            f"\n\n{traceback.format_exc()}"
        ) from error
    if len(results) != len(batch["completions"]):
        what = f"returned {len(results)} scores for {len(batch['completions'])} completions"
        raise click.ClickException(f"--reward {key} {what}")
    return results


def _scored(function: BaseReward, number: int, result: Any) -> Scored:
    outcome = to_outcome(result, function.spec.range)
    reason = "error" if outcome.error else outcome.reason
    return Scored(number, outcome.value, reason, as_score(result).read, outcome.error)


def _plain(key: str, scored: list[Scored]) -> dict[str, Any]:
    """Return the summary and the scores as `--json` prints them.

    mean: of the scores, None if there are none. reasons: the share of the completions that has
    each reason, the most frequent first.
    """
    scores = [each.score for each in scored if each.score is not None]
    reasons = Counter(each.reason for each in scored if each.reason)
    return {
        "reward": key,
        "mean": fmean(scores) if scores else None,
        "without_score": len(scored) - len(scores),
        "reasons": {reason: times / len(scored) for reason, times in reasons.most_common()},
        "scores": [each._asdict() for each in scored],
    }


def _show(
    key: str, scored: list[Scored], range: tuple[float, float] | None, completions: list[Any]
) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("row", justify="right")
    table.add_column("score", justify="right")
    table.add_column("reason")
    table.add_column("read", no_wrap=True)
    for each in scored[:SHOWN]:
        value = "none" if each.score is None else f"{each.score:g}"
        read = each.error.strip().splitlines()[-1] if each.error else each.read
        table.add_row(str(each.row), value, Text(each.reason), Text(in_one_line(read)))
    out = console()
    out.print(Text(f"{key}, {range[0]:g} .. {range[1]:g}" if range else key, style="bold"))
    out.print(table)
    if len(scored) > SHOWN:
        out.print(f"the first {SHOWN} rows; --json prints all", highlight=False)
    summary = _plain(key, scored)
    mean, without = summary["mean"], summary["without_score"]
    line = f"{len(scored):,} completions" + ("" if mean is None else f", mean {mean:.4g}")
    out.print(line + (f", {without:,} without a score" if without else ""), highlight=False)
    for reason, share in summary["reasons"].items():
        out.print(Text(f"  {share:6.1%}  {reason}"))
        example = next(each.row for each in scored if each.reason == reason)
        text = text_of(completions[example])
        out.print(Text(f"          row {example}: {in_one_line(both_ends(text, 20, 33))}"))
    if error := next((each.error for each in scored if each.error), None):
        click.echo(f"\nThe first error:\n{error.rstrip()}", err=True)

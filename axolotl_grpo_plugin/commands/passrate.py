"""`axolotl grpo passrate CONFIG`."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from axolotl_grpo_plugin.commands.rewards import console
from axolotl_grpo_plugin.commands.score import counted_files
from axolotl_grpo_plugin.commands.session import Options, Session
from axolotl_grpo_plugin.evaluation.passrate import (
    BANDS,
    Place,
    Rate,
    Row,
    annotated,
    endings,
    rates_in,
    rates_of,
    subset,
)
from axolotl_grpo_plugin.evaluation.scoring import AnswerScorer
from axolotl_grpo_plugin.findings import Finding, first_line, nearest, stop_on
from axolotl_grpo_plugin.runlog.reader import rewards_in
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.serving.processes import guarded

TABLE, PLOT = "passrate.parquet", "passrate.png"
_BAR = 30  # characters


def run(config: str, options: Options, **more: Any) -> int:
    """Answer, score, count and write. Return the exit code."""
    if options.vllm() and not (options.server or more["log"]):  # end vLLM's server in any case
        return guarded(lambda: _run(config, options, **more))
    return _run(config, options, **more)


def _run(
    config: str,
    options: Options,
    *,
    log: str | None,
    keep: Sequence[str],
    out: str | None,
    number: int | None,
    by: Sequence[str],
    as_json: bool,
) -> int:
    limits = [_limits(each) for each in keep]
    if (keep or number) and not out:
        stop_on([Finding("--keep and --subset", "no file to write", "Name one with --out")])
    if out and not out.endswith((".parquet", ".jsonl")):
        stop_on([Finding(f"--out {out}", "unknown ending", "Use .parquet or .jsonl")])
    session = Session(config, options, "datasets", "passrate", evaluates=False, generates=not log)
    stop_on(_check(session, keep, out, by if number else [], log))
    scorer = AnswerScorer(session.cfg)
    try:
        rates = _rates(session, scorer, log)
    finally:
        scorer.close()
    if rates is None:
        return 0
    rows = annotated(session.rows, rates)
    notes, folder = session.notes(scorer), session.folder
    if not rows:
        where = f"--from-rollouts {log}" if log else "the rows"
        fix = " ".join(notes) or "Name the dataset that this run was trained on"
        stop_on([Finding(where, "no row has a score", fix)])
    _write(rows, folder / TABLE)
    _plot(rates, folder / PLOT)
    if as_json:
        click.echo(json.dumps({name: _bands(each) for name, each in rates.items()}, indent=2))
    else:
        shown = console()
        for name, each in rates.items():
            shown.print(_histogram(name, each))
        for line in [*notes, f"Written to {folder}: {TABLE}, {PLOT}"]:
            shown.print(line, highlight=False)
    if out:
        ends = zip(endings([*rates]), limits, strict=False)
        ranges = {f"pass_rate{end}": each for end, each in ends}
        kept = [
            row
            for row in rows
            if all(low <= row[name] <= high for name, (low, high) in ranges.items())
        ]
        chosen = subset(kept, number, by, options.seed) if number and kept else kept
        if not chosen:
            stop_on([Finding(f"--keep {' '.join(keep)}", "no row is left", "Widen the range")])
        _write(chosen, Path(out))
        click.echo(f"{out}: {len(chosen):,} of {len(rows):,} rows", err=as_json)
    return 0


def _rates(
    session: Session, scorer: AnswerScorer, log: str | None
) -> dict[str, dict[Place, Rate]] | None:
    """Return the pass rates by model, or None after a shard."""
    files, rewards = counted_files(log) if log else [], scorer.rewards
    if files:
        rewards = rewards_in(files[-1], dict(rewards))
    elif log:
        fix = "Name the output_dir of a run with `grpo_rollouts: true`"
        stop_on([Finding(f"--from-rollouts {log}", "no rollouts there", fix)])
    reward = next(iter(rewards), LoggedReward(""))
    if not reward.range:
        what = "no highest score is declared, so that no answer counts as right"
        fix = "Put a reward with a range first in trl.reward_funcs"
        stop_on([Finding(f"trl.reward_funcs[0] ({reward.name})", what, fix)])
    if log:
        return {log: rates_in(files, session.rows, reward)}
    if session.answer():
        return None
    answers = session.scored(scorer)
    return {
        model.label: rates_of((each for each in answers if each.model == model.label), reward)
        for model in session.models
    }


def _check(
    session: Session, keep: Sequence[str], out: str | None, by: Sequence[str], log: str | None
) -> Iterator[Finding]:
    """Check the options of the filter before anything is generated."""
    models = 1 if log else len(session.models)
    if len(keep) > models:
        what = f"{len(keep)} ranges for {models} model{'s' * (models > 1)}"
        yield Finding("--keep", what, "Give one per --model, in their order")
    if out and any(os.path.realpath(out) == os.path.realpath(s.path) for s in session.sources):
        yield Finding(f"--out {out}", "it is the dataset itself", "Name another file")
    columns = {name for row in session.rows for name in row.raw}
    for name in by:
        if name not in (known := {*columns, "band", "length"}):
            yield Finding(f"--by {name}", "no such column", nearest(name, known))
    if "n" in columns and "pass_rate" not in columns:
        fix = "Rename it, because this command writes a column of that name"
        yield Finding(session.sources[0].name, 'it has a column "n"', fix)


def _limits(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        limits = float(low), float(high)
    except ValueError:
        limits = (1.0, 0.0)
    if not 0 <= limits[0] <= limits[1] <= 1:
        stop_on([Finding(f"--keep {text}", "not a range", "Write it as 0.1:0.9")])
    return limits


def _bands(rates: dict[Place, Rate]) -> dict[str, int]:
    counts = Counter(rate.band for rate in rates.values())
    return {band: counts[band] for band in BANDS}


def _histogram(name: str, rates: dict[Place, Rate]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=f"Pass rates of {name}, {len(rates):,} rows")
    shown.add_column("band")
    shown.add_column("rows", justify="right")
    shown.add_column("share", justify="right")
    shown.add_column("")
    bands = _bands(rates)
    most = max(bands.values()) or 1
    for band, rows in bands.items():
        share = rows / max(len(rates), 1)
        shown.add_row(band, f"{rows:,}", f"{share:.1%}", "█" * round(_BAR * rows / most))
    return shown


def _plot(rates: dict[str, dict[Place, Rate]], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(rates)
    for number, (name, each) in enumerate(rates.items()):
        places = [place + (number - (len(rates) - 1) / 2) * width for place in range(len(BANDS))]
        bars = axes.bar(places, list(_bands(each).values()), width, label=name)
        axes.bar_label(bars, fontsize=8)
    axes.set_xticks(range(len(BANDS)), BANDS)
    axes.set(ylabel="rows", title="pass rate of the rows")
    axes.spines[["top", "right"]].set_visible(False)
    if len(rates) > 1:
        axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def _write(rows: list[Row], file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), file)
            return
        with file.open("w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    except (OSError, pa.ArrowException) as error:
        what = f"cannot be written: {first_line(error)}"
        stop_on([Finding(str(file), what, "Name another file, or JSON lines with --out X.jsonl")])

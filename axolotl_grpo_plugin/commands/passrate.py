"""`axolotl-grpo passrate CONFIG`."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path

from axolotl_grpo_plugin.commands.reward_score import counted_files
from axolotl_grpo_plugin.data.rows import Rows
from axolotl_grpo_plugin.evaluate.options import Options
from axolotl_grpo_plugin.evaluate.passrate import BANDS, Rates, annotated, logged_answers, rates_of
from axolotl_grpo_plugin.evaluate.scoring import AnswerScorer
from axolotl_grpo_plugin.evaluate.session import Session, open_session
from axolotl_grpo_plugin.findings import Findings, fault, first_line, stop, stop_on
from axolotl_grpo_plugin.output.files import written
from axolotl_grpo_plugin.report.console import console, print_json, table
from axolotl_grpo_plugin.runlog.reader import rewards_in
from axolotl_grpo_plugin.runlog.rewards import LoggedReward

TABLE = "passrate.parquet"
KEPT = "kept.parquet"
_BAR = 30  # characters


def run(config: str, options: Options, *, log: str | None, keep: str | None, as_json: bool) -> int:
    """Answer, score, count and write. Return the exit code."""
    low, high = _limits(keep or "0:1")
    session = open_session(
        config, options, "datasets", "passrate", evaluates=False, generates=not log
    )
    stop_on(_check(session))
    with closing(AnswerScorer(session.cfg)) as scorer:
        name, rates = _rates(session, scorer, log)
    rows = annotated(session.rows, rates)
    notes = list(session.notes(scorer))
    file = session.folder / TABLE
    if not rows:
        where = f"--from-rollouts {log}" if log else "the rows"
        stop(
            "no-score",
            where,
            "no row has a score",
            " ".join(notes) or "Name the dataset that this run was trained on",
        )
    _write(rows, file)
    notes.append(f"Written to {file}")
    kept = [row for row in rows if low <= row["pass_rate"] <= high]
    if keep and kept:
        file = session.folder / KEPT
        _write(kept, file)
        notes.append(f"{file}: {len(kept):,} of {len(rows):,} rows")
    bands = dict.fromkeys(BANDS, 0)
    bands |= Counter(rate.band for rate in rates.values())
    if 2 * bands["impossible"] > len(rates):
        reward = session.cfg.trl.reward_funcs[0]
        notes.append(
            "Most rows are impossible: see the reasons with "
            f"`axolotl-grpo reward score {log or session.folder / 'answers'} --reward {reward}`."
        )
    if as_json:
        print_json(bands)
    else:
        _show(name, bands, notes)
    if not kept:
        stop("no-rows", f"--keep {keep}", "no row is left", "Widen the range")
    return 0


def _rates(session: Session, scorer: AnswerScorer, log: str | None) -> tuple[str, Rates]:
    """Return the name of the model or log, and the pass rates."""
    if not log:
        reward = _first(scorer.rewards)
        session.answer()
        return session.models[0].label, rates_of(session.scored(scorer), reward)
    files = counted_files(log)
    reward = _first(rewards_in(files[-1], dict(scorer.rewards)))
    return log, rates_of(logged_answers(files, session.rows), reward)


def _first(rewards: Sequence[LoggedReward]) -> LoggedReward:
    """Return the first reward function, which must say what is right."""
    reward = next(iter(rewards), LoggedReward(""))
    if not reward.range:
        stop(
            "no-range",
            f"trl.reward_funcs[0] ({reward.name})",
            "no highest score is declared, so that no answer counts as right",
            "Put a reward with a range first in trl.reward_funcs, or give it one in grpo_reward_range",
        )
    return reward


def _check(session: Session) -> Findings:
    """Check models and rows before anything is generated."""
    if len(session.models) > 1:
        yield fault(
            "options", "--model", "pass rates are of one model", "Run the command once per model"
        )
    for source in session.sources:
        if os.path.realpath(source.path) == os.path.realpath(session.folder / KEPT):
            yield fault(
                "own-dataset",
                "--out",
                f"{source.path} is the dataset itself",
                "Name another folder",
            )
    columns = set(chain.from_iterable(row.raw for row in session.rows))
    if "n" in columns and "pass_rate" not in columns:
        yield fault(
            "own-column",
            session.sources[0].name,
            'it has a column "n"',
            "Rename it, because this command writes a column of that name",
        )


def _limits(text: str) -> tuple[float, float]:
    with suppress(ValueError):  # its message is that of a wrong order
        low, high = map(float, text.split(":"))
        if 0 <= low <= high <= 1:
            return low, high
    stop("options", f"--keep {text}", "not a range", "Write it as 0.1:0.9")


def _show(name: str, bands: dict[str, int], notes: list[str]) -> None:
    total = sum(bands.values())
    histogram = table("band", "rows", "share", "", right=("rows", "share"))
    histogram.title = f"Pass rates of {name}, {total:,} rows"
    for band, rows in bands.items():
        share = rows / total
        bar = "█" * round(_BAR * share)
        histogram.add_row(band, f"{rows:,}", f"{share:.1%}", bar)
    out = console()
    out.print(histogram)
    for line in notes:
        out.print(line)


def _write(rows: Rows, file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with written(file) as part:
            pq.write_table(pa.Table.from_pylist(rows), part)
    except (OSError, pa.ArrowException) as error:
        stop(
            "cannot-be-written",
            str(file),
            f"cannot be written: {first_line(error)}",
            "Name another folder with --out",
        )

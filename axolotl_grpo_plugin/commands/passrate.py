"""`axolotl-grpo passrate CONFIG`."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.table import Facts, findings
from axolotl_grpo_plugin.commands.reward_score import counted_files
from axolotl_grpo_plugin.config import Config, output_dir, read_config
from axolotl_grpo_plugin.data.rows import Row, Rows, Source
from axolotl_grpo_plugin.data.tokenizer import LazyTokenizer
from axolotl_grpo_plugin.evaluate.options import Options
from axolotl_grpo_plugin.evaluate.passrate import (
    BANDS,
    RatedRow,
    annotated,
    logged_answers,
    rated_by_prompt,
    rates_of,
)
from axolotl_grpo_plugin.evaluate.rows import transformed
from axolotl_grpo_plugin.evaluate.scoring import AnswerScorer
from axolotl_grpo_plugin.evaluate.session import chosen_sources, open_session
from axolotl_grpo_plugin.findings import Findings, fault, first_line, stop, stop_on
from axolotl_grpo_plugin.load import is_model, load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.output.files import writing, written
from axolotl_grpo_plugin.report.console import console, print_json, table
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, Ranges

TABLE = "passrate.parquet"
KEPT = "kept.parquet"
FOLDER = "passrate"  # of the results, below output_dir
_BAR = 30  # characters


class RatedRows(NamedTuple):
    """The rows of a call with their pass rates.

    Attributes:
        cfg: The config.
        name: The model, or the rollout log.
        folder: Gets the results.
        rated: The rows that have a rate.
        notes: Sentences on rows and scores that are missing.
    """

    cfg: Config
    name: str
    folder: Path
    rated: list[RatedRow]
    notes: list[str]


def run(config: str, options: Options, *, log: str | None, keep: str | None, as_json: bool) -> int:
    """Answer, score, count and write. Return the exit code."""
    low, high = _limits(keep or "0:1")
    if log:
        measured = _from_log(config, options, log)
    else:
        measured = _from_model(config, options)
    rows = annotated(measured.rated)
    notes = measured.notes
    file = measured.folder / TABLE
    if not rows:
        stop(
            "no-score",
            f"--from-rollouts {log}" if log else "the rows",
            "no row has a score",
            " ".join(notes) or "Name the dataset that this run was trained on",
        )
    _write(rows, file)
    notes.append(f"Written to {file}")
    kept = [row for row in rows if low <= row["pass_rate"] <= high]
    if keep and kept:
        file = measured.folder / KEPT
        _write(kept, file)
        notes.append(f"{file}: {len(kept):,} of {len(rows):,} rows")
    bands = dict.fromkeys(BANDS, 0)
    bands |= Counter(row["band"] for row in rows)
    if 2 * bands["impossible"] > len(rows):
        reward = measured.cfg.trl.reward_funcs[0]
        notes.append(
            "Most rows are impossible: see the reasons with "
            f"`axolotl-grpo reward score {log or measured.folder / 'answers'} --reward {reward}`."
        )
    if as_json:
        print_json(bands)
    else:
        _show(measured.name, bands, notes)
    if not kept:
        stop("no-rows", f"--keep {keep}", "no row is left", "Widen the range")
    return 0


def _from_model(config: str, options: Options) -> RatedRows:
    """Answer the rows with a model, and rate them."""
    session = open_session(config, options, "datasets", FOLDER, evaluates=False)
    if len(session.models) > 1:
        stop("options", "--model", "pass rates are of one model", "Run the command once per model")
    raws = [row.raw for row in session.rows]
    stop_on(_check_rows(session.sources, session.folder, raws))
    with closing(AnswerScorer(session.cfg)) as scorer:
        reward = _first(scorer.rewards)
        session.answer()
        answers = (
            ((answer["dataset"], answer["row"]), answer) for answer in session.scored(scorer)
        )
        rates = rates_of(answers, reward)
        notes = list(session.notes(scorer))
    rated = [(row.raw, rates[row.dataset_row]) for row in session.rows if row.dataset_row in rates]
    return RatedRows(session.cfg, session.models[0].label, session.folder, rated, notes)


def _from_log(config: str, options: Options, log: str) -> RatedRows:
    """Rate the rows whose prompts are in a rollout log. It needs neither a model nor torch."""
    cfg = read_config(config)
    paths.add_working_folder()
    facts = Facts(cfg, "answer")
    stop_on(findings(facts, "yaml"), cfg.file)
    sources = chosen_sources(cfg, options, "datasets")
    paths.resolve_packaged(cfg)
    stop_on(findings(facts, "import"), cfg.file)
    files = counted_files(log)
    reward = _first(files.rewards(_declared(cfg)))
    rates = rates_of(logged_answers(files, reward), reward)
    folder = Path(options.out or output_dir(cfg) / FOLDER)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    tokenizer = LazyTokenizer(cfg)
    rows = chain.from_iterable(
        transformed(cfg, source, tokenizer, options.limit) for source in sources
    )
    rated = rated_by_prompt(rows, rates)
    stop_on(_check_rows(sources, folder, [raw for raw, _ in rated]))
    return RatedRows(cfg, log, folder, rated, [])


def _declared(cfg: Config) -> Ranges:
    """Return the declared range of each reward function of a config by its logged name."""
    references = reward_refs(cfg)
    return {
        name: load_reward(reference).spec.range
        for reference, name in zip(references, logged_names(references), strict=True)
        if not is_model(reference.key)
    }


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


def _check_rows(sources: Sequence[Source], folder: Path, rows: Sequence[Row]) -> Findings:
    """Check that the command writes over no dataset and over no column."""
    for source in sources:
        if os.path.realpath(source.path) == os.path.realpath(folder / KEPT):
            yield fault(
                "own-dataset",
                "--out",
                f"{source.path} is the dataset itself",
                "Name another folder",
            )
    columns = set(chain.from_iterable(rows))
    if "n" in columns and "pass_rate" not in columns:
        yield fault(
            "own-column",
            sources[0].name,
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

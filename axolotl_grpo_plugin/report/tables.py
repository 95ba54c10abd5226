"""Summarize the scored answers of models: eval.json, tables and eval.md."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from pandas import DataFrame, Series, isna

from axolotl_grpo_plugin.report import statistics
from axolotl_grpo_plugin.report.statistics import Array
from axolotl_grpo_plugin.runlog.reader import Row
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, short
from axolotl_grpo_plugin.runlog.schema import LENIENT, READ, REASON, REWARD

MEASURED = """\
- An answer is right if the first reward function gives its highest score. It reads the answer as in
  training. "Lenient" counts the last number or box, wherever it is.
- Intervals are 95 % intervals over rows, because answers to one row are alike. Models are compared
  row by row.
- pass@n: one of n answers is right. maj@n: the most frequent of n answers is right. It needs a
  reward that returns the text that it read."""
# Exact, of 1 to 29 rows with one answer and a share of 5 to 95 %: tests/report/test_statistics.py.
FEW_ROWS = (
    "Fewer than 30 rows: the 95 % intervals hold the true value in only 79 to 100 % of the cases."
)
REASONS = 5
MOST_FREQUENT = "most frequent answer"
ANSWER = 40  # characters of it to show
CONFIDENCE = 0.95  # of a difference that a table claims

Plain = dict[str, Any]  # of JSON
Named = Iterator[tuple[str, Plain]]


def summarize(
    answers: Iterable[Row], rewards: Sequence[LoggedReward], settings: Plain | None = None
) -> Plain:
    """Return eval.json: per dataset and mode the results of each model, and each against the first.

    answers: rows of the schema in runlog/. A later answer to the same row replaces an earlier one.
    settings: how they were made.
    """
    frame = DataFrame(answers).drop_duplicates(
        ["dataset", "mode", "model", "row", "sample"], keep="last"
    )
    parts = []
    for (dataset, mode), same_mode in frame.groupby(["dataset", "mode"], sort=False):
        models = [answered for _, answered in same_mode.groupby("model", sort=False)]
        differences: list[Plain] = []
        for other in models[1:]:
            for reward in rewards:
                differences += _differences(models[0], other, reward)
        parts.append(
            {
                "dataset": dataset,
                "mode": mode,
                "results": [_result(model, rewards) for model in models],
                "differences": differences,
            }
        )

    return {"settings": settings or {}, "parts": parts}


def _table(answers: DataFrame, column: str) -> DataFrame:
    """Return a column with a line per row and a column per sample."""
    return answers.pivot(index="row", columns="sample", values=column)


def _right(scores: Array, reward: LoggedReward) -> Array:
    """Return 1.0 for the right answers, 0.0 for the wrong ones, and NaN for those without a score."""
    right: Array = np.where(np.isnan(scores), np.nan, scores >= reward.least_right)
    return right


def _result(answers: DataFrame, rewards: Iterable[LoggedReward]) -> Plain:
    """Return the statistics of one model's answers to a dataset in one mode."""
    model, step = answers.iloc[0][["model", "step"]]
    result: Plain = {
        "model": model,
        "step": None if isna(step) else int(step),
        "rows": answers["row"].nunique(),
        "samples": int(answers["sample"].max()) + 1,
        "rewards": {},
    }
    for name in ("truncated", "completion_tokens"):
        if name in answers:
            result[name] = float(answers[name].mean())

    for reward in rewards:
        scores = _table(answers, REWARD + reward.name).to_numpy(float)
        # A reward that is not for this dataset has no score.
        if not np.isnan(scores).all():
            result["rewards"][reward.name] = dict(_statistics(answers, scores, reward))

    return result


def _statistics(answers: DataFrame, scores: Array, reward: LoggedReward) -> Named:
    """Yield the statistics of one reward function by their name. scores: (rows, samples)."""
    right = _right(scores, reward)
    if reward.range:
        yield "right", statistics.share(right)._asdict()

    yield "mean", statistics.mean(scores, *(reward.range or ()))._asdict()

    lenient = LENIENT + reward.name
    if lenient in answers and answers[lenient].notna().any():
        grid = _table(answers, lenient).to_numpy(float)
        yield "lenient", statistics.share(grid)._asdict()

    if reward.range and right.shape[1] > 1:
        yield from _of_samples(answers, right, READ + reward.name)

    if READ + reward.name in answers:
        yield from _of_answers(answers[READ + reward.name])

    reason = REASON + reward.name
    if reason in answers:
        for text, share in answers[reason].value_counts(normalize=True).items():
            if text:
                yield f"- {text}", {"mean": share}


def _of_samples(answers: DataFrame, right: Array, column: str) -> Named:
    """Yield pass@n and maj@n for several answers per row. column: of the texts that the reward read."""
    _, samples = right.shape
    yield f"pass@{samples}", statistics.pass_at_n(right)._asdict()
    if column not in answers:
        return

    read = _table(answers, column).fillna("").to_numpy(object)
    # A reward that reads nothing gives wrong answers no vote.
    if all(read[right == 1]) and any(read[right >= 0]):
        yield f"maj@{samples}", statistics.majority(right, read.tolist())._asdict()


def _of_answers(read: Series) -> Named:
    """Yield the share of the most frequent answer, unless all answers differ. read: by a reward."""
    counts = read.astype("string").str.strip().replace("", None).value_counts()
    for answer, count in counts.head(1).items():
        if count > 1:
            shown = " ".join(answer.split())[:ANSWER]
            yield MOST_FREQUENT, {"mean": count / len(read), "answer": shown}


def _differences(first: DataFrame, other: DataFrame, reward: LoggedReward) -> Iterator[Plain]:
    """Yield a model's change against the first in right answers, if they are known, and in the mean."""
    tables = []
    for answers in (first, other):
        table = _table(answers, REWARD + reward.name)
        tables.append(table.dropna(how="all"))
    # Only rows that have scores of both models.
    aligned = tables[0].align(tables[1], "inner", axis=0)
    scores = [table.to_numpy(float) for table in aligned]
    if not len(scores[0]):
        return

    # Without a declared range, only the scores that were seen are known to be possible.
    seen = np.concatenate(scores, axis=None)
    kinds = {"mean": (scores, reward.range or (np.nanmin(seen), np.nanmax(seen)))}
    if reward.range:
        rights = [_right(values, reward) for values in scores]
        kinds = {"right": (rights, (0.0, 1.0)), **kinds}
    for kind, (values, possible) in kinds.items():
        before, after = values
        change: Plain = {
            "reward": reward.name,
            "models": [first["model"].iloc[0], other["model"].iloc[0]],
            "rows": len(before),
            "of": kind,
            "means": [float(statistics.row_means(grid).mean()) for grid in values],
            "difference": statistics.difference(before, after, *possible)._asdict(),
        }
        changed = ""
        # McNemar's test takes one answer per row.
        if kind == "right" and first["mode"].iloc[0] == "greedy":
            gained, lost = statistics.changed(before, after)
            change["p"] = statistics.mcnemar(gained, lost)
            changed = f"; {gained} rows became right, {lost} wrong (McNemar p = {change['p']:.2g})"
        change["verdict"] = _verdict(change) + changed
        yield change


def _verdict(change: Plain) -> str:
    """Return a sentence on a difference."""
    before, after = change["models"]
    interval = change["difference"]
    scale, unit = (100, " points") if change["of"] == "right" else (1, "")
    words = f"{after} against {before}: {scale * interval['mean']:+.3g}{unit}"
    ends = ends_of(interval, "+.3g", scale)
    if ends:
        words += f" (95 %: {ends})"

    # The interval may exclude 0 where the exact test shows no difference: 5 rows became right and 0 wrong.
    is_shown = ends and not interval["low"] <= 0 <= interval["high"]
    if not is_shown or change.get("p", 0.0) > 1 - CONFIDENCE:
        words += f", no difference that {change['rows']:,} rows can show"

    return words


def ends_of(interval: Plain, form: str, scale: int = 1) -> str:
    """Return the ends of an interval, "" if they are not known."""
    if interval["low"] is None:
        return ""
    return f"{scale * interval['low']:{form}} to {scale * interval['high']:{form}}"


def markdown_tables(parts: Iterable[Plain]) -> Iterator[str]:
    """Yield a section in Markdown per dataset and mode: a table of the models, and lines on the rewards.

    parts: of a summary.
    """
    for part in parts:
        results = part["results"]
        samples = results[0]["samples"]
        title = f"### {part['dataset']}, {part['mode']}: {results[0]['rows']:,} rows"
        if samples > 1:
            title += f" x {samples}"
        yield title
        cells = DataFrame(map(_cells, results)).fillna("")
        yield markdown_table(list(cells), cells.to_numpy().tolist())
        lines = list(_lines(part))
        if lines:
            yield "- " + "\n- ".join(lines)


def shown(parts: Iterable[Plain]) -> Any:
    """Return the same for rich."""
    from rich.markdown import Markdown

    return Markdown("\n\n".join(markdown_tables(parts)))


def _lines(part: Plain) -> Iterator[str]:
    """Yield the verdicts on the first reward, the last model's means, and the most frequent answers and reasons."""
    first = part["results"][0]
    last = part["results"][-1]
    if first["rewards"]:
        reward, kind, _ = first_of(first)
        if last is first:
            # A model that is compared with none.
            for name, shares in first["rewards"].items():
                if name != reward or kind != "mean":  # which the table has
                    mean = shares["mean"]["mean"]
                    yield f"{short(name)}: {mean:.2f}"

        for change in part["differences"]:
            if change["reward"] == reward and change["of"] == kind:
                yield change["verdict"]
            elif change["of"] == "mean" and change["models"][1] == last["model"]:
                yield _change(change)

        yield from _reasons(first, reward)
        if last is not first:
            yield from _reasons(last, reward)

    if first["rows"] < 30:
        yield FEW_ROWS


def _change(change: Plain) -> str:
    """Return the means of a reward before and after, with the interval of their difference."""
    before, after = change["means"]
    text = f"{short(change['reward'])}: {before:.2f} → {after:.2f}"
    if ends := ends_of(change["difference"], "+.2g"):
        text += f" (95 % of the change: {ends})"
    return text


def _reasons(result: Plain, reward: str) -> Iterator[str]:
    """Yield lines with a model's most frequent answer and reasons, if a reward gave any."""
    texts = []
    for name, share in result["rewards"].get(reward, {}).items():
        if name == MOST_FREQUENT:
            yield f"{result['model']}: {name} {share['mean']:.0%}: {share['answer']}"
        if name.startswith("- "):
            texts.append(f"{name[2:]} {share['mean']:.1%}")

    if texts:
        yield f"{result['model']}: {', '.join(texts[:REASONS])}"


def first_of(result: Plain) -> tuple[str, str, Plain]:
    """Return the name of the first reward, "right" or else "mean", and its mean with the interval."""
    reward, results = next(iter(result["rewards"].items()))
    kind, interval = next(iter(results.items()))
    return reward, kind, interval


def _cells(result: Plain) -> dict[str, str]:
    """Return a model's line in a table, by column. Its rewards are those of the first reward function."""
    cells = {"model": result["model"]}
    if result["rewards"]:
        reward, kind, interval = first_of(result)
        column = f"{kind} (95 %)"
        if kind == "right":
            cells[column] = f"{interval['mean']:.1%} ({ends_of(interval, '.1f', 100)})"
        else:
            column = f"mean of {short(reward)} (95 %)"
            cells[column] = f"{interval['mean']:.2f}"
            if ends := ends_of(interval, ".2f"):
                cells[column] += f" ({ends})"

        for name, share in result["rewards"][reward].items():
            if name.startswith(("lenient", "pass@", "maj@")):
                cells[name] = f"{share['mean']:.1%}"
    if "truncated" in result:
        cells["cut off"] = f"{result['truncated']:.1%}"
    if "completion_tokens" in result:
        cells["tokens"] = f"{result['completion_tokens']:.0f}"
    return cells


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = []
    rule = ["---"] * len(columns)
    for row in [columns, rule, *rows]:
        text = " | ".join(cell.replace("|", "\\|") for cell in row)
        lines.append(f"| {text} |")
    return "\n".join(lines)


def markdown(summary: Plain) -> str:
    """Return eval.md, a section of a model card."""
    measured = [MEASURED]
    for name, value in summary["settings"].items():
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if value != "":
            measured.append(f"- {name}: {value}")

    parts = [
        "## Evaluation",
        *markdown_tables(summary["parts"]),
        "### How it was measured",
        "\n".join(measured),
    ]
    return "\n\n".join(parts) + "\n"

"""Summarize the scored answers of models: eval.json, tables, eval.md and a PNG."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from axolotl_grpo_plugin.evaluation import statistics
from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.statistics import Array, Interval

MEASURED = """\
- An answer is right if the first reward function gives its highest score. It reads the answer as in
  training. "Lenient" counts the last number or box, wherever it is.
- Intervals are 95 % intervals over rows, because answers to one row are alike. Models are compared
  row by row.
- pass@k is the unbiased estimate of Chen et al. (2021). maj@n is the most frequent of n answers. It
  needs a reward that returns the text that it read."""
# Exact, of 1 to 29 rows with one answer and a share of 5 to 95 %: tests/evaluation/test_statistics.py.
FEW_ROWS = (
    "Fewer than 30 rows: the 95 % intervals hold the true value in only 79 to 100 % of the cases."
)
REASONS = 5  # the most frequent, in a table

Answers = list[ScoredAnswer]
Plain = dict[str, Any]
Table = tuple[str, list[str], list[list[str]], list[str]]  # title, columns, rows, lines below


def summarize(
    answers: Iterable[ScoredAnswer],
    highest: dict[str, float],
    settings: Plain | None = None,
    need: float | None = None,
) -> Plain:
    """Return eval.json: results per dataset, mode and model, and each model against the first.

    highest: the score that counts as right, by reward function. settings: how the answers were made.
    need: a difference of right answers, such as 0.02. The summary says how many rows show it.
    """
    found: Plain = {"settings": settings or {}, "need": need, "results": [], "differences": []}
    for (dataset, mode), group in _groups(answers, attrgetter("dataset", "mode")).items():
        place = {"dataset": dataset, "mode": mode}
        names = list(dict.fromkeys(name for each in group for name in each.scores))
        first, *others = _groups(group, attrgetter("model")).values()
        for each in (first, *others):
            result = _result(each, names, highest, None if others else need)
            found["results"].append({**place, **result})
        for other in others:
            for name in names:
                changes = _changes(first, other, name, highest.get(name), need)
                found["differences"] += [{**place, **change} for change in changes]
    return found


def _groups(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for each in items:
        groups.setdefault(key(each), []).append(each)
    return groups


def _grid(answers: Answers, rows: list[int], value: Callable[[ScoredAnswer], Any]) -> Any:
    """Return a value of the answers as a list of samples per row."""
    places = {row: place for place, row in enumerate(rows)}
    samples = 1 + max(each.sample for each in answers)
    grid = [[None] * samples for _ in rows]
    for each in answers:
        grid[places[each.row]][each.sample] = value(each)
    return grid


def _scores(answers: Answers, rows: list[int], name: str) -> Array:
    return np.array(_grid(answers, rows, lambda each: each.scores.get(name)), dtype=float)


def _right(scores: Array, highest: float) -> Array:
    return np.where(np.isnan(scores), np.nan, scores >= highest)


def _plain(interval: Interval) -> Plain:
    """Return the interval for JSON, which has no infinity."""
    return {name: end if isfinite(end) else None for name, end in interval._asdict().items()}


def _result(
    answers: Answers, names: list[str], highest: dict[str, float], need: float | None
) -> Plain:
    """Return the statistics of one model's answers to a dataset in one mode."""
    rows = sorted({each.row for each in answers})
    samples = 1 + max(each.sample for each in answers)
    rewards: Plain = {}
    result: Plain = {"model": answers[0].model, "step": answers[0].step}
    result |= {"rows": len(rows), "samples": samples, "rewards": rewards}
    for name in names:
        scores = _scores(answers, rows, name)
        if np.isnan(scores).all():
            continue
        reasons = Counter(each.reasons[name] for each in answers if each.reasons.get(name))
        best = [highest[name]] if name in highest else []
        rewards[name] = reward = {"mean": _plain(statistics.mean(scores, *best))}
        if best:
            right = _right(scores, *best)
            reward["right"] = _plain(statistics.share(right))
            if need and len(rewards) == 1:
                result["rows_needed"] = statistics.rows_needed_unpaired(right, need)
            if samples > 1:
                most = int((~np.isnan(right)).sum(axis=1).max())
                ks = [2**power for power in range(most.bit_length())]
                reward["pass@k"] = {str(k): _plain(statistics.pass_at_k(right, k)) for k in ks}
            if samples > 1 and len(rewards) == 1:
                read = np.array(_grid(answers, rows, attrgetter("read")), dtype=object)
                # A reward that reads nothing gives wrong answers no vote.
                if all(read[right == 1]) and any(read[right >= 0]):
                    reward["maj@n"] = _plain(statistics.majority(right, read.tolist()))
        reward["reasons"] = {why: count / len(answers) for why, count in reasons.most_common()}
    lenient = np.array(_grid(answers, rows, lambda each: each.lenient), dtype=float)
    if not np.isnan(lenient).all():
        result["lenient"] = _plain(statistics.share(lenient))
    result["truncated"] = float(np.mean([each.truncated for each in answers]))
    result["tokens"] = float(np.mean([each.tokens for each in answers]))
    return result


def _changes(
    first: Answers, other: Answers, name: str, highest: float | None, need: float | None
) -> Iterator[Plain]:
    """Yield a model's change against the first in right answers, if they are known, and in the mean."""
    rows = sorted({each.row for each in (*first, *other)})
    before, after = (_scores(answers, rows, name) for answers in (first, other))
    if not (count := len(statistics.differences(before, after))):
        return
    place = {"reward": name, "before": first[0].model, "after": other[0].model, "rows": count}
    if highest is not None:
        pair = _right(before, highest), _right(after, highest)
        change = statistics.difference(*pair, 0.0, 1.0)
        found: Plain = {**place, "of": "right", "difference": _plain(change)}
        found["verdict"] = _verdict(place, change, 100, " points")
        if first[0].mode == "greedy":
            gained, lost = statistics.changed(*pair)
            p = statistics.mcnemar(*pair)
            found |= {"became_right": gained, "became_wrong": lost, "p": p}
            found["verdict"] += f"; {gained} rows became right, {lost} wrong (McNemar p = {p:.2g})"
        if need:
            found["rows_needed"] = statistics.rows_needed(statistics.differences(*pair), need)
        yield found
    change = statistics.difference(before, after)
    verdict = _verdict(place, change, 1, "")
    yield {**place, "of": "mean", "difference": _plain(change), "verdict": verdict}


def _verdict(place: Plain, change: Interval, scale: int, unit: str) -> str:
    before, after, rows, digits = place["before"], place["after"], place["rows"], 1 if unit else 2
    if change.low <= 0 <= change.high:
        words, sign = f"{after} against {before}: no difference that {rows:,} rows can show", scale
    else:
        sign = scale if change.mean > 0 else -scale
        words = f"{after} is {'better' if sign > 0 else 'worse'} than {before}"
        words, unit = f"{words} by {sign * change.mean:.{digits}f}{unit}", ""
    low, high = sorted([sign * change.low, sign * change.high])
    return f"{words} (95 %: {low:.{digits}f} to {high:.{digits}f}{unit})"


def _tables(summary: Plain) -> Iterator[Table]:
    """Yield a table of the models per dataset and mode, then one of the rewards per dataset."""
    changes = _groups(summary["differences"], itemgetter("dataset", "mode"))
    for dataset, results in _groups(summary["results"], itemgetter("dataset")).items():
        modes = _groups(results, itemgetter("mode"))
        cells: dict[str, dict[str, str]] = {}
        for mode, models in modes.items():
            here = changes.get((dataset, mode), [])
            yield _models(f"{dataset}, {mode}", models, here, summary["need"])
            for name, cell in _rewards(models, here):
                cells.setdefault(name, {})[mode] = cell
        names = list(dict.fromkeys([results[0]["model"], results[-1]["model"]]))
        title = f"{dataset}, {' → '.join(names)}"
        # The reasons of the first reward follow it, also reasons that only a later mode has.
        first = next(iter(cells), "")
        ordered = sorted(cells, key=lambda name: (name != first, not name.startswith("- ")))
        rows = [[name, *(cells[name].get(mode, "") for mode in modes)] for name in ordered]
        lines = ["± 95 % interval of the change"][: len(names) - 1]
        if "- truncated" in cells:
            lines.append(
                'truncated: no closing tag or box; "cut off" counts answers at the token limit'
            )
        yield title, ["mean reward", *modes], rows, lines


def _models(title: str, results: list[Plain], changes: list[Plain], need: float | None) -> Table:
    rows = [_cells(each) for each in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    samples = f" x {results[0]['samples']}" if results[0]["samples"] > 1 else ""
    lines, reward = [], next(iter(results[0]["rewards"]), None)
    its = _groups((each for each in changes if each["reward"] == reward), itemgetter("after"))
    for change, *_ in its.values():  # of right answers, if they are known
        lines.append(change["verdict"] + _needed(change, need, ""))
    lines += filter(
        None, (_needed(each, need, " of each model, unpaired,")[2:] for each in results)
    )
    if results[0]["rows"] < 30:
        lines.append(FEW_ROWS)
    filled = [[row.get(name, "") for name in columns] for row in rows]
    return f"{title}: {results[0]['rows']:,} rows{samples}", columns, filled, lines


def _needed(found: Plain, need: float | None, how: str) -> str:
    rows = found.get("rows_needed")
    return f"; about {rows:,} rows{how} can show {100 * (need or 0):g} points" if rows else ""


def _cells(result: Plain) -> dict[str, str]:
    """Return a model's line in a table, by column."""
    reward: Plain = next(iter(result["rewards"].values()), {})
    cells = {"model": result["model"]}
    if "right" in reward:
        mean, low, high = (100 * end for end in reward["right"].values())
        cells["right (95 %)"] = f"{mean:.1f}% ({low:.1f} to {high:.1f})"
    elif reward and None not in reward["mean"].values():
        mean, low, high = reward["mean"].values()
        cells["mean (95 %)"] = f"{mean:.2f} ({low:.2f} to {high:.2f})"
    if "lenient" in result:
        cells["lenient"] = f"{result['lenient']['mean']:.1%}"
    if "pass@k" in reward:
        k, most = list(reward["pass@k"].items())[-1]
        cells[f"pass@{k}"] = f"{most['mean']:.1%}"
    if "maj@n" in reward:
        cells[f"maj@{result['samples']}"] = f"{reward['maj@n']['mean']:.1%}"
    return {**cells, "cut off": f"{result['truncated']:.1%}", "tokens": f"{result['tokens']:.0f}"}


def _rewards(results: list[Plain], changes: list[Plain]) -> Iterator[tuple[str, str]]:
    """Yield means by reward, of the first and last model, and after the first its reasons."""
    ends = results[:: max(len(results) - 1, 1)]
    margins = {
        each["reward"]: (each["difference"]["high"] - each["difference"]["low"]) / 2
        for each in changes
        if (each["of"], each["after"]) == ("mean", ends[-1]["model"]) and each["rows"] > 1
    }
    for number, name in enumerate(ends[0]["rewards"]):
        rewards = [each["rewards"][name] for each in ends if name in each["rewards"]]
        means = " → ".join(f"{each['mean']['mean']:.2f}" for each in rewards)
        yield _short(name), means + (f" ±{margins[name]:.2f}" if name in margins else "")
        reasons = sum((Counter(each["reasons"]) for each in rewards), Counter())
        for why, _ in reasons.most_common(0 if number else REASONS):
            shares = (f"{each['reasons'].get(why, 0):.1%}" for each in rewards)
            yield f"- {why}", " → ".join(shares)


def _short(reward: str) -> str:
    return reward.removesuffix("_reward_func")


def table(summary: Plain) -> Any:
    """Return rich tables that fit 80 columns, with their verdicts."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown: list[Any] = []
    for title, columns, rows, lines in _tables(summary):
        each = Table(
            *columns, box=box.SIMPLE, title=title, title_justify="left", padding=(0, 0, 0, 1)
        )
        for row in rows:
            each.add_row(*map(Text, row))
        shown += [each, *map(Text, lines), ""]
    return Group(*shown)


def markdown(summary: Plain) -> str:
    """Return eval.md, a section of a model card."""
    parts = ["## Evaluation"]
    for title, columns, rows, lines in _tables(summary):
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (columns, *rows)]
        cells.insert(1, ["---"] * len(columns))
        marks = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        parts += [f"### {title}", marks, "\n".join(f"- {line}" for line in lines)]
    settings = "".join(
        f"\n- {name}: {_text(value)}" for name, value in summary["settings"].items() if value != []
    )
    parts += ["### How it was measured", MEASURED + settings]
    return "\n\n".join(filter(None, parts)) + "\n"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def plot(summary: Plain, file: Path) -> None:
    """Write a PNG: bars per model and mode for the first reward, and a curve over 3 or more steps."""
    from matplotlib.figure import Figure

    scored = [each for each in summary["results"] if each["rewards"]]
    steps = sorted({each["step"] for each in scored} - {None})
    between = steps[1:-1]  # on the curve only
    datasets = _groups(scored, itemgetter("dataset"))
    figure = Figure(figsize=(9, 3.6 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), 2 if between else 1, squeeze=False)
    for (dataset, results), (bars, *curves) in zip(datasets.items(), grid, strict=True):
        labels = [each["model"] for each in results if each["step"] not in between]
        labels = list(dict.fromkeys(labels))
        modes = _groups(results, itemgetter("mode"))
        width = 0.8 / len(modes)
        for number, (mode, models) in enumerate(modes.items()):
            style: Plain = {"color": f"C{number}", "capsize": 3, "label": mode}
            shown = [each for each in models if each["model"] in labels]
            places = [labels.index(each["model"]) + number * width for each in shown]
            means, errors = _points(shown)
            drawn = bars.bar(places, means, 0.9 * width, yerr=errors, alpha=0.8, **style)
            bars.bar_label(drawn, fmt="%.3f", fontsize=8)
            line = [each for each in models if each["step"] is not None]
            line.sort(key=itemgetter("step"))
            means, errors = _points(line)
            for curve in curves:
                at = [each["step"] for each in line]
                curve.errorbar(at, means, errors, marker="o", **style)
                curve.set(xlabel="step")
        name, reward = next(iter(results[0]["rewards"].items()))
        bars.set_xticks([place + (0.8 - width) / 2 for place in range(len(labels))], labels)
        bars.set(title=f"{dataset}: {results[0]['rows']:,} rows")
        bars.set(ylabel=f"{'share right' if 'right' in reward else 'mean'}, {_short(name)}")
        bars.margins(y=0.2)
        bars.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)
        for each in (bars, *curves):
            each.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def _points(results: list[Plain]) -> tuple[Array, Array]:
    """Return the first reward's shares of right answers, or means, and their errors on both sides."""
    rewards = [next(iter(each["rewards"].values())) for each in results]
    ends = [list((each.get("right") or each["mean"]).values()) for each in rewards]
    means, low, high = np.array(ends, dtype=float).reshape(-1, 3).T
    return means, np.nan_to_num([means - low, high - means])

"""Pool runs that differ only in their seed: means, ranges, and intervals over seeds."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from scipy import special

from axolotl_grpo_plugin.report.statistics import SURE, Interval
from axolotl_grpo_plugin.report.tables import Plain, ends_of, first_of, markdown_table
from axolotl_grpo_plugin.runlog.rewards import short

# Keys that seeds of one experiment may differ in.
_OF_A_SEED = {"seed", "data_seed", "output_dir", "wandb_name", "wandb_run_id", "run_name"}


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one value per run, with Student's 95 % interval over runs.

    Args:
        values: A value per run. One value has no interval.
    """
    center = fmean(values)
    runs = len(values)
    if runs < 2:
        return Interval(center, None, None)
    half = float(special.stdtrit(runs - 1, SURE)) * stdev(values) / sqrt(runs)
    return Interval(center, center - half, center + half)


def pool(runs: Mapping[str, Sequence[Plain]]) -> list[Plain]:
    """Return a pooled part for each dataset and mode that all runs answered.

    Args:
        runs: By the name of a run, its parts of a summary: see `tables.summarize`. Each part has the results of
            a first model and of the last one, which is compared with the first.
    """
    by_name = [{(part["dataset"], part["mode"]): part for part in parts} for parts in runs.values()]
    shared = [key for key in by_name[0] if all(key in parts for parts in by_name)]
    pooled = []
    for key in shared:
        parts = [parts[key] for parts in by_name]
        reward, kind, _ = first_of(parts[0]["results"][0])
        firsts, lasts = (
            [_mean(part["results"][i], reward, kind) for part in parts] for i in (0, -1)
        )
        changes = [last - first for first, last in zip(firsts, lasts, strict=True)]
        pooled.append(
            {
                "dataset": key[0],
                "mode": key[1],
                "reward": reward,
                "of": kind,
                "models": [parts[0]["results"][i]["model"] for i in (0, -1)],
                "rows": parts[0]["results"][0]["rows"],
                "runs": [
                    {"run": name, "before": first, "after": last, "change": last - first}
                    for name, first, last in zip(runs, firsts, lasts, strict=True)
                ],
                "before": over_seeds(firsts)._asdict(),
                "after": over_seeds(lasts)._asdict(),
                "change": over_seeds(changes)._asdict(),
            }
        )
    return pooled


def _mean(result: Plain, reward: str, kind: str) -> float:
    return float(result["rewards"][reward][kind]["mean"])


def different_keys(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the keys that differ between runs, and that a seed does not explain.

    Args:
        configs: The run.yaml of each run.
    """
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    values = list(configs.values())
    return [
        key
        for key in keys
        if key not in _OF_A_SEED
        and any(config.get(key) != values[0].get(key) for config in values[1:])
    ]


def tables(pooled: Sequence[Plain], seeds: Mapping[str, object]) -> str:
    """Return the pooled parts in Markdown: a table with a line per run, and a sentence on all.

    Args:
        pooled: The result of `pool`.
        seeds: The seed of each run by its name.
    """
    sections = []
    for part in pooled:
        first, last = part["models"]
        right = part["of"] == "right"
        kind = "right" if right else f"mean of {short(part['reward'])}"
        lines = [
            [run["run"], str(seeds.get(run["run"], ""))]
            + [_shown(run[name], right) for name in ("before", "after")]
            + [_shown(run["change"], right, sign=True)]
            for run in part["runs"]
        ]
        title = f"### {part['dataset']}, {part['mode']}: {part['rows']:,} rows, {kind}"
        table = markdown_table(["run", "seed", first, last, "change"], lines)
        sections += [title, table, _sentence(part, right)]
    return "\n\n".join(sections) + "\n"


def _shown(value: float, right: bool, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return (
        f"{100 * value:{plus}.1f}" + (" points" if sign else "%") if right else f"{value:{plus}.3g}"
    )


def _sentence(part: Plain, right: bool) -> str:
    """Return the mean, range and interval of the last model and of its change against the first."""
    runs = part["runs"]
    scale, unit = (100, " points") if right else (1, "")
    words = []
    for name, form in (("after", ".3g"), ("change", "+.3g")):
        values = [run[name] for run in runs]
        label = (
            part["models"][1]
            if name == "after"
            else f"{part['models'][1]} against {part['models'][0]}"
        )
        ends = ends_of(part[name], form, scale)
        interval = (
            f", 95 % over {len(runs)} seeds: {ends}" if ends else ", one seed has no interval"
        )
        span = f"{scale * min(values):{form}} to {scale * max(values):{form}}"
        words.append(
            f"- {label}: {scale * part[name]['mean']:{form}}{unit} (range {span}{interval})"
        )
    change = part["change"]
    if change["low"] is not None and change["low"] <= 0 <= change["high"]:
        words.append(f"- {len(runs)} seeds cannot show a difference")
    return "\n".join(words)

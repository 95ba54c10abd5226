"""`axolotl-grpo eval --runs RUN RUN ...`: pool the held-out results of runs with several seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.report.console import console, print_json
from axolotl_grpo_plugin.report.seeds import different_keys, pool, tables
from axolotl_grpo_plugin.report.tables import Plain
from axolotl_grpo_plugin.training.held_out import compared
from axolotl_grpo_plugin.training.record import HELD_OUT, RUN


def run(folders: Sequence[str], *, as_json: bool) -> int:
    """Print each run's results and those of all runs together. Return the exit code.

    Args:
        folders: The output folders of the runs.
        as_json: Print JSON.

    Raises:
        FindingError: A folder has no results, or the runs answered no common rows.
    """
    parts = {}
    configs = {}
    for folder in map(Path, folders):
        name = str(folder)
        parts[name] = _parts(folder)
        configs[name] = _config(folder)
    pooled = pool(parts)
    if not pooled:
        stop(
            "no-common-rows",
            ", ".join(folders),
            "the runs answered no common dataset",
            "Name runs of one config",
        )
    seeds = {name: config.get("seed", "") for name, config in configs.items()}
    notes = _notes(configs, seeds)
    if as_json:
        print_json({"parts": pooled, "seeds": seeds, "notes": notes})
        return 0
    from rich.markdown import Markdown

    console().print(Markdown(tables(pooled, seeds)))
    for note in notes:
        click.echo(note)
    return 0


def _parts(folder: Path) -> list[Plain]:
    """Return the results of a run's held-out rows, and of `axolotl-grpo eval` on it."""
    parts = compared(folder / HELD_OUT)
    for file in sorted(folder.glob("eval/**/eval.json")):
        summary = json.loads(file.read_text(encoding="utf-8"))
        parts += [part for part in summary["parts"] if len(part["results"]) > 1]
    if not parts:
        stop(
            "no-results",
            str(folder),
            "it has no answers of two models to held-out rows",
            "Train with grpo_held_out_rows, or run `axolotl-grpo eval` on the run",
        )
    return parts


def _config(folder: Path) -> dict[str, Any]:
    file = folder / RUN
    if not file.exists():
        return {}
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    return config if isinstance(config, dict) else {}


def _notes(configs: dict[str, dict[str, Any]], seeds: dict[str, object]) -> list[str]:
    """Return warnings about runs that are no seeds of one experiment."""
    notes = []
    if keys := different_keys(configs):
        notes.append(
            f"The runs also differ in {', '.join(keys)}, so they are not seeds of one config."
        )
    known = [seed for seed in seeds.values() if seed != ""]
    if len(set(known)) < len(known):
        notes.append("Two runs have the same seed. Set another `seed` for each.")
    return notes

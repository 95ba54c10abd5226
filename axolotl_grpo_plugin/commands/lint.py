"""`axolotl grpo lint`: attack a reward with completions that it must not pay."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.attacks import STUCK, Line, Report, attack
from axolotl_grpo_plugin.checks.samples import Sample, samples
from axolotl_grpo_plugin.commands.rewards import both_ends, console, in_one_line
from axolotl_grpo_plugin.commands.score import references
from axolotl_grpo_plugin.config import number_of, read_config
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, not_ready, reward_refs
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.stats.rows import sources

SECONDS = 5.0  # of CPU time per completion; a batch may take twice as long
MEMORY = 4 << 30


def run(reward: str, *, data: str, arguments: Sequence[str], rows: int, as_json: bool) -> int:
    """Attack the rewards, and print the tables. Return the exit code: 1 if an attack found a fault."""
    paths.add_working_folder()
    cfg = read_config(data)
    named = _rewards(cfg, reward, arguments)
    found = _rows(cfg, rows)
    reports = {}
    for each in named:
        if reason := not_ready(load_reward(each)):
            raise click.ClickException(f"{each.key}: {reason}")
    pool = Pool(1, MEMORY, named)
    try:
        for each in named:
            limit = min(number_of(cfg.get("grpo_reward_timeout")) or SECONDS, SECONDS)
            isolation = None if load_reward(each).is_async else "process"
            guard = GuardedReward(each, each.key, pool, limit, 2 * limit, isolation)
            reports[each.key] = attack(guard, found)
            if not as_json:
                _show(each.key, reports[each.key], len(found))
    finally:
        pool.close()
    if as_json:
        click.echo(json.dumps([_plain(*each) for each in reports.items()], indent=2))
    return int(any(report.faults for report in reports.values()))


def _rewards(cfg: Any, reward: str, arguments: Sequence[str]) -> list[RewardRef]:
    """Return the rewards of the config that are meant, else the reward of that path."""
    known = [each for each in reward_refs(cfg) if not is_model(each.key)]
    own = known if reward == "all" else [each for each in known if reward in (each.key, each.path)]
    if own and not arguments:
        return [
            *references(
                [each.key for each in own], [], {each.key: dict(each.arguments) for each in own}
            ).values()
        ]
    if reward == "all":
        if arguments:
            raise click.UsageError("all takes no --arg. Name one reward.")
        where = f"{cfg['axolotl_config_path']}: trl.reward_funcs"
        raise click.ClickException(
            f"{where}: it names no reward function. Add one, or name a reward."
        )
    return [*references([reward], arguments).values()]


def _rows(cfg: Any, limit: int) -> list[Sample]:
    datasets = [each for each in sources(cfg) if each.key == "datasets"]
    paths.resolve_packaged(cfg)
    found: list[Sample] = []
    for source in datasets:
        rows = samples(cfg, source, offline=False, limit=limit)
        if isinstance(rows, Finding):
            raise click.ClickException(str(rows))
        found += rows
    if not found:
        raise click.ClickException(
            f"{cfg['axolotl_config_path']}: no rows. Name a dataset under datasets:"
        )
    return found


def _show(key: str, report: Report, rows: int) -> None:
    out = console()
    out.print(Text(key, style="bold"))
    if report.reads:
        line = f"It reads {', '.join(report.reads)}, so only a right answer may be paid."
    else:
        line = "It declares no column of the dataset, so it may pay for a layout with any answer."
    out.print(f"{line} {rows} rows.", highlight=False)
    if not report.layout:
        out.print("No right answer is known, or the reward pays it in no layout that was tried.")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("attack", "must", "paid", "score", "", "example"):
        table.add_column(
            name, no_wrap=True, justify="right" if name in ("paid", "score") else "left"
        )
    for each in report.lines:
        table.add_row(*_cells(each))
    out.print(table)
    seconds = "not measured" if report.seconds is None else f"{report.seconds * 1000:.2g} ms"
    found = ", ".join(line.attack for line in report.lines if line.fault)
    out.print(
        Text(f"Faults: {found}." if found else "No fault.", style="bold red" if found else "")
    )
    out.print(
        f"Time per completion, with the call of its process: {seconds} (median).\n", highlight=False
    )
    if report.stuck:
        out.print(f"The other attacks were left out, because {STUCK} timed out.\n")


def _cells(line: Line) -> Iterator[Text]:
    score = "" if line.highest is None else f"{line.highest:g}"
    paid = f"{line.paid}/{line.tried}" if line.tried else "-"
    yield Text(line.attack)
    yield Text(line.must)
    yield Text(paid)
    yield Text(score)
    yield Text(line.fault.upper(), style="bold red") if line.fault else Text("ok", style="green")
    yield Text(in_one_line(line.note or both_ends(line.example, 8, 22), 34))


def _plain(key: str, report: Report) -> dict[str, Any]:
    lines = [line._asdict() | {"example": line.example[:1000]} for line in report.lines]
    return {"reward": key, **report._asdict(), "lines": lines, "faults": report.faults}

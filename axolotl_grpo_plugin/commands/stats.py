"""`python stats.py CONFIG` and `axolotl-grpo stats CONFIG`."""

from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.config import check_rl
from axolotl_grpo_plugin.checks.prompts import check_lengths
from axolotl_grpo_plugin.checks.tools import shown_tools
from axolotl_grpo_plugin.checks.traps import check_limit
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.data.measure import Measured, measure, notes_of
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.data.tokenizer import Tokenizer, name_of, open_tokenizer
from axolotl_grpo_plugin.findings import Finding, stop, stop_on, warning
from axolotl_grpo_plugin.report.console import print_json
from axolotl_grpo_plugin.stats import show
from axolotl_grpo_plugin.stats.budget import (
    COMPLETION,
    KEPT,
    STEP,
    Budget,
    as_yaml,
    budget,
    settings,
)
from axolotl_grpo_plugin.stats.rollouts import CompletionLengths, NoRollouts, read_rollouts

TOO_MANY_TRUNCATED = 0.3  # Axolotl's guide: clipped_ratio < 0.3


def load(file: str) -> Config:
    """Read a raw config and check that its prompts can be counted. Raises: FindingError."""
    cfg = read_config(file)
    stop_on(check_rl(cfg, "answer"), cfg.file)
    if not cfg.datasets:
        stop("no-datasets", file, "no datasets", "Write a list of them, each with a path")
    if not name_of(cfg):
        stop("no-model", file, "no base_model", "Name the model whose tokenizer counts")
    return cfg


@dataclass
class Stats:
    """The counts, notes and problems of one call. prompts: of all datasets."""

    cfg: Config
    tokenizer: Tokenizer
    datasets: list[Measured]
    prompts: Lengths = field(default_factory=Lengths)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rollouts: CompletionLengths | None = None


def run(
    config: str | None,
    *,
    datasets: list[str],
    tokenizer: str | None,
    transform: str | None,
    max_completion_length: int | None,
    rollouts: str | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Count, show, and return the exit code: 1 if something cannot be counted or a check fails."""
    if config:
        cfg = load(config)
    else:
        entries = [{"path": path, "type": transform} for path in datasets]
        cfg = Config({"rl": "grpo", "base_model": tokenizer, "datasets": entries})
    paths.add_working_folder()
    with Console(stderr=True).status("counting"):
        stats = _counted(cfg)
    if rollouts:
        try:
            stats.rollouts = found = read_rollouts(Path(rollouts))
            stats.notes += filter(None, [found.note, found.reward.no_right])
        except NoRollouts as error:
            stats.problems.append(str(error))
    completion, why = _completion(stats, max_completion_length)
    options: list[Budget] = []
    if stats.prompts.rows:
        options = [budget(stats.prompts, completion, kept) for kept in KEPT]
        limit = stats.tokenizer.context()
        if limit and options[0].context > limit:
            stats.notes.append(
                f"a context of {options[0].context} is more than the model's {limit} "
                "(max_position_embeddings). Drop the longest rows, or shorten --max-completion-length."
            )
    findings = _check(stats) if config else []
    if as_json:
        print_json(_plain(stats, options, findings))
    else:
        _show(stats, options, why)
        out = Console(highlight=False, soft_wrap=True)
        for line in stats.notes:
            out.print(f"[yellow]note[/] {escape(line)}")
        for finding in findings:
            out.print(f"[bold red]FAIL[/] {escape(str(finding))}")
        if config and not findings and not stats.problems:
            out.print("[bold green]OK[/] the YAML's lengths suffice")
    for line in stats.problems:
        click.secho(line, fg="red", err=True)
    return int(bool(stats.problems or (strict and findings)))


def _counted(cfg: Config) -> Stats:
    """Count all datasets. Raises: TokenizerError."""
    # Both before the paths are resolved, because messages show them as written.
    name = name_of(cfg)
    found = sources(cfg)
    paths.resolve_packaged(cfg)
    tokenizer = open_tokenizer(cfg)
    tokenizer.name = name
    tokenizer.tools = shown_tools(cfg)
    datasets = [measure(source, cfg, tokenizer) for source in found]
    stats = Stats(cfg, tokenizer, datasets)
    for dataset in datasets:
        stats.prompts.counts.update(dataset.prompts.counts)
        stats.problems += dataset.problems
        stats.notes += notes_of(dataset)
        # Without any counted row, `measure` has said so itself.
        if dataset.bad and dataset.prompts.rows:
            stats.problems.append(f"{dataset.source.name}: {dataset.bad:,} rows are not counted")
    return stats


def _completion(stats: Stats, given: int | None) -> tuple[int, str]:
    """Return the trl.max_completion_length to propose, and the reason."""
    if given:
        return given, "as given"
    if stats.rollouts:
        if enough := stats.rollouts.enough():
            return enough, "99 % of the rollouts end within it"
        twice = STEP * ceil(2 * stats.rollouts.limit / STEP)
        return twice, "twice the rollouts' limit, which truncated more than 1 %"
    if present := stats.cfg.trl.max_completion_length:
        return present, "the YAML's"
    return COMPLETION, "assumed, because nothing says how long they are"


def _check(stats: Stats) -> list[Finding]:
    """Check the YAML's present lengths, as `axolotl-grpo check` does."""
    findings = [
        *check_limit(stats.cfg),
        *check_lengths(stats.cfg, stats.datasets, stats.tokenizer.context()),
    ]
    if stats.rollouts and stats.rollouts.share > TOO_MANY_TRUNCATED:
        findings.append(
            warning(
                "truncated",
                stats.cfg.at("trl.max_completion_length"),
                f"{stats.rollouts.share:.1%} of the rollouts were truncated",
                "Raise it as proposed above",
            )
        )
    return findings


def _show(stats: Stats, options: list[Budget], why: str) -> None:
    out = Console(highlight=False)
    if options:
        out.print(show.distribution(stats.datasets, stats.prompts))
    if stats.rollouts:
        out.print(show.rollouts(stats.rollouts))
    if options:
        out.print(show.trade_off(options, stats.prompts.rows))
        out.print(f"completion: {why}\n")
        out.print(as_yaml(settings(stats.cfg, options[0])))
        out.print()
    for line in show.provenance(stats.tokenizer, stats.datasets):
        out.print(escape(line), style="dim", soft_wrap=True)


def _plain(stats: Stats, options: list[Budget], findings: list[Finding]) -> dict[str, object]:
    chosen = None
    if options:
        chosen = {**options[0]._asdict(), "set": settings(stats.cfg, options[0])}
    return {
        "tokenizer": stats.tokenizer.name,
        "counted_by": stats.tokenizer.how,
        "prompts": show.plain(stats.prompts),
        "datasets": {
            dataset.source.name: show.plain(dataset.prompts) for dataset in stats.datasets
        },
        "budget": chosen,
        "rollouts": stats.rollouts and stats.rollouts.plain(),
        "notes": stats.notes,
        "findings": [finding._asdict() for finding in findings],
        "problems": stats.problems,
    }

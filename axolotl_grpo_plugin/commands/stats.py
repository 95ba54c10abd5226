"""`python stats.py CONFIG` and `axolotl grpo stats CONFIG`."""

import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from math import ceil
from pathlib import Path
from typing import Any

import click
from axolotl.utils.dict import DictDefault
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.prompts import check_lengths
from axolotl_grpo_plugin.checks.tools import shown_tools, tool_tokens
from axolotl_grpo_plugin.checks.traps import check_limit
from axolotl_grpo_plugin.config import block, completion_of, dicts, is_grpo, read_config, tokens_of
from axolotl_grpo_plugin.environments.names import environment_ref, uses_tools
from axolotl_grpo_plugin.findings import ConfigError, Finding, at
from axolotl_grpo_plugin.stats import show
from axolotl_grpo_plugin.stats.budget import (
    COMPLETION,
    STEP,
    Budget,
    as_yaml,
    budget,
    budgets,
    settings,
)
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.measure import Measured, measure, warnings_of
from axolotl_grpo_plugin.stats.rollouts import CompletionLengths, NoRollouts, read_rollouts
from axolotl_grpo_plugin.stats.rows import sources
from axolotl_grpo_plugin.stats.tokenizer import (
    Tokenizer,
    TokenizerError,
    name_of,
    open_tokenizer,
)

TOO_MANY_TRUNCATED = 0.3  # Axolotl's guide: clipped_ratio < 0.3


def load(file: str) -> Any:
    """Read a raw config and check that its prompts can be counted. Raises: ConfigError."""
    cfg = read_config(file)
    if not is_grpo(cfg):
        raise ConfigError(f"{file}: rl is {cfg.get('rl')!r}. Set rl: grpo, or gdpo.")
    if not dicts(cfg.get("datasets")):
        raise ConfigError(f"{file}: no datasets. Write a list of them, each with a path.")
    if not name_of(cfg):
        raise ConfigError(f"{file}: no base_model. Name the model whose tokenizer counts.")
    return cfg


def without_config(datasets: Sequence[str], tokenizer: str, transform: str | None) -> Any:
    """Return a config with only these datasets and this tokenizer."""
    entries = [{"path": path, **({"type": transform} if transform else {})} for path in datasets]
    return DictDefault({"rl": "grpo", "base_model": tokenizer, "datasets": entries})


class Stats:
    """The counts, notes and problems of one call."""

    def __init__(self, cfg: Any):
        paths.add_working_folder()
        self.cfg = cfg
        self.sources = sources(cfg)  # before their paths are resolved
        self.own = name_of(cfg)
        paths.resolve_packaged(cfg)
        self.counted: list[tuple[Tokenizer, list[Measured]]] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.rollouts: CompletionLengths | None = None

    def count(self, others: Sequence[str], gold: str | None) -> None:
        """Count all datasets with the config's tokenizer and with the others."""
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            for name in dict.fromkeys([self.own, *others]):
                cfg = self.cfg
                if name != self.own:
                    cfg = DictDefault({**cfg, "tokenizer_config": name})
                try:
                    tokenizer = open_tokenizer(cfg)
                    tokenizer.name, tokenizer.tools = name, shown_tools(cfg)
                    self._count_datasets(cfg, tokenizer, gold, progress)
                except TokenizerError as error:
                    self.problems.append(str(error))

    def _count_datasets(
        self, cfg: Any, tokenizer: Tokenizer, gold: str | None, progress: Progress
    ) -> None:
        datasets = []
        for source in self.sources:
            task = progress.add_task(f"{tokenizer.name}: {source.name}", total=None)

            def advance(done: int, total: int, task: Any = task) -> None:
                progress.update(task, completed=done, total=total)

            dataset = measure(source, cfg, tokenizer, gold, advance)
            progress.remove_task(task)
            datasets.append(dataset)
            self.problems += dataset.problems
            if dataset.bad and dataset.prompts.rows:
                self.problems.append(f"{source.name}: {dataset.bad:,} rows are not counted")
        self.warnings += warnings_of(tokenizer, datasets)
        self.counted.append((tokenizer, datasets))

    def read_rollouts(self, folder: str) -> None:
        tokenizer = self.counted[0][0] if self.counted else None
        try:
            self.rollouts = read_rollouts(Path(folder), tokenizer, completion_of(self.cfg))
            self.warnings += filter(None, [self.rollouts.note, self.rollouts.reward.no_right])
        except NoRollouts as error:
            self.problems.append(str(error))

    def completion(self, given: int | None) -> tuple[int, str]:
        """Return the trl.max_completion_length to propose, and the reason."""
        if given:
            return given, "as given"
        if self.rollouts:
            if enough := self.rollouts.enough():
                return enough, "99 % of the rollouts end within it"
            twice = STEP * ceil(2 * self.rollouts.limit / STEP)
            return twice, "twice the rollouts' limit, which truncated more than 1 %"
        if present := completion_of(self.cfg):
            return present, "the YAML's"
        gold = Lengths.together(each.gold for _, datasets in self.counted for each in datasets)
        if gold.rows and gold.at(0.99) > COMPLETION:
            return STEP * ceil(gold.at(0.99) / STEP), "99 % of the gold completions are no longer"
        return COMPLETION, "assumed, because nothing says how long they are"

    def widest(self, own: bool) -> Lengths | None:
        """Return the prompts of the config's tokenizer, or if not `own` those with the longest prompt."""
        prompts = [
            show.together(datasets)
            for tokenizer, datasets in self.counted
            if tokenizer.name == self.own or not own
        ]
        counted = (each for each in prompts if each.rows)
        return max(counted, key=lambda each: each.most, default=None)

    def note_lengths(self, completion: int, chosen: Budget | None) -> None:
        """Add notes if the proposal truncates gold completions, or exceeds the model's context."""
        for tokenizer, datasets in self.counted:
            for each in datasets:
                if over := each.gold.over(completion):
                    share = over / each.gold.rows
                    what = f"{share:.1%} of the column {each.gold_column!r} are longer than {completion} tokens"
                    self.warnings.append(f"{tokenizer.name}, {each.label}: {what}")
            limit = tokenizer.context() if tokenizer.name == self.own else None
            if chosen and limit and chosen.context > limit:
                what = f"a context of {chosen.context} is more than the model's {limit} (max_position_embeddings)"
                fix = "--drop the longest rows, or shorten --max-completion-length"
                self.warnings.append(f"{self.own}: {what}: {fix}")

    def note_tools(self, completion: int) -> None:
        """Add notes on the tokens that the descriptions and the calls of tools take."""
        for tokenizer, _ in self.counted if uses_tools(self.cfg) else ():
            if tokenizer.tools is None:
                self.warnings.append(f"{tokenizer.name}: the tools are not counted (see `check`)")
                continue
            used = tool_tokens(self.cfg, tokenizer, [{"role": "user", "content": "?"}])
            self.warnings += [
                f"{tokenizer.name}: {used.descriptions} tokens of each prompt describe the tools",
                f"{tokenizer.name}: a call with an answer of one character takes up to {used.call} of the "
                f"{completion} tokens of a completion, so {completion - used.call} are left for longer "
                "answers, other calls and the model's text",
            ]
        if environment_ref(self.cfg):
            self.warnings.append(
                "text that the environment's reset adds to a prompt is not counted"
            )

    def findings(self, drop: float) -> list[Finding] | None:
        """Check the YAML's present lengths, as `axolotl grpo check` does. None if nothing is counted."""
        if not self.counted or self.counted[0][0].name != self.own:
            return None
        tokenizer, datasets = self.counted[0]
        counted = [each for each in datasets if each.prompts.rows]
        lengths = check_lengths(self.cfg, counted, tokenizer.context(), drop)
        findings = [*check_limit(self.cfg), *lengths]
        if self.rollouts and self.rollouts.share > TOO_MANY_TRUNCATED:
            where = at(self.cfg, "trl.max_completion_length")
            what = f"{self.rollouts.share:.1%} of the rollouts were truncated"
            findings.append(Finding(where, what, "Raise it as proposed above", level="warning"))
        return findings


def run(
    config: str | None,
    *,
    datasets: Sequence[str],
    tokenizers: Sequence[str],
    transform: str | None,
    gold: str | None,
    max_completion_length: int | None,
    drop: float,
    rollouts: str | None,
    plot: str | None,
    as_json: bool,
    checked: bool,
) -> int:
    """Count, show, and return the exit code: 1 if something cannot be counted or a check fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack characters of the prompts
    stats = Stats(load(config) if config else without_config(datasets, tokenizers[0], transform))
    stats.count(tokenizers, gold)
    if rollouts:
        stats.read_rollouts(rollouts)
    widest = stats.widest(own=bool(config))
    completion, why = stats.completion(max_completion_length)
    chosen = budget(widest, completion, drop) if widest else None
    stats.note_lengths(completion, chosen)
    stats.note_tools(completion)
    findings = stats.findings(drop) if config else None
    if as_json:
        click.echo(json.dumps(_plain(stats, chosen, findings), indent=2, ensure_ascii=False))
    else:
        _show(stats, why, findings, widest, chosen)
    if plot and widest and chosen:
        from axolotl_grpo_plugin.stats.plot import plot as draw

        Path(plot).parent.mkdir(parents=True, exist_ok=True)
        draw(stats.counted, budgets(widest, completion), chosen, Path(plot))
        click.echo(f"wrote {plot}", err=True)
    for line in dict.fromkeys(stats.problems):
        click.secho(line, fg="red", err=True)
    return int(bool(stats.problems) or (checked and bool(findings)))


def _show(
    stats: Stats,
    why: str,
    findings: list[Finding] | None,
    prompts: Lengths | None,
    chosen: Budget | None,
) -> None:
    out = Console()
    if prompts and chosen:
        for tokenizer, each in stats.counted:
            out.print(show.distribution(tokenizer.name, each))
            out.print(show.longest(each))
            out.print()
    if stats.rollouts:
        out.print(show.rollouts(stats.rollouts))
    if prompts and chosen:
        out.print(show.trade_off(budgets(prompts, chosen.completion), chosen, prompts.rows, why))
        out.print(as_yaml(settings(stats.cfg, chosen)), highlight=False)
        out.print()
    for tokenizer, each in stats.counted:
        out.print(show.provenance(tokenizer, each), style="dim", highlight=False)
    for line in dict.fromkeys(stats.warnings):
        out.print(f"[yellow]note[/] {escape(line)}", highlight=False)
    for finding in findings or ():
        out.print(f"[bold red]FAIL[/] {escape(str(finding))}", highlight=False, soft_wrap=True)
    if findings == [] and not stats.problems:
        less = prompts and chosen and _has_more(stats.cfg, settings(stats.cfg, chosen))
        more = ", and so do the shorter ones above" * bool(less)
        out.print(f"[bold green]OK[/] the YAML's lengths suffice{more}", highlight=False)


def _has_more(cfg: Any, proposed: dict[str, int]) -> bool:
    """Return whether a length in the YAML is longer than the proposal."""
    lengths = {"sequence_len": cfg.get("sequence_len")}
    lengths |= {
        f"{key}.{name}": value for key in ("trl", "vllm") for name, value in block(cfg, key).items()
    }
    return any((tokens_of(lengths.get(key)) or 0) > value for key, value in proposed.items())


def _plain(stats: Stats, chosen: Budget | None, findings: list[Finding] | None) -> dict[str, Any]:
    return {
        "tokenizers": [
            {
                "tokenizer": tokenizer.name,
                "template": tokenizer.template_source,
                "counted_by": tokenizer.how,
                "prompts": show.plain(show.together(measured)),
                "datasets": [
                    {
                        "dataset": each.name,
                        "split": each.split,
                        "transform": each.transform,
                        "prompts": show.plain(each.prompts),
                        "gold_column": each.gold_column,
                        "gold": show.plain(each.gold),
                        "longest": [long._asdict() for long in each.longest],
                        "bad_rows": each.bad,
                    }
                    for each in measured
                ],
            }
            for tokenizer, measured in stats.counted
        ],
        "budget": chosen and {**chosen._asdict(), "set": settings(stats.cfg, chosen)},
        "rollouts": stats.rollouts and stats.rollouts.plain(),
        "notes": list(dict.fromkeys(stats.warnings)),
        "findings": [finding._asdict() for finding in findings or ()],
        "problems": list(dict.fromkeys(stats.problems)),
    }

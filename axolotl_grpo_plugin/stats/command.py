"""`python stats.py CONFIG` and `axolotl grpo stats CONFIG`."""

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from math import ceil
from pathlib import Path
from typing import Any

import click
import yaml
from axolotl.utils.dict import DictDefault
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks import ConfigError
from axolotl_grpo_plugin.stats import show
from axolotl_grpo_plugin.stats.budget import (
    COMPLETION,
    STEP,
    Budget,
    Verdict,
    as_yaml,
    budget,
    budgets,
    check,
    completion_of,
    settings,
)
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.edit import EditError, edited
from axolotl_grpo_plugin.stats.measure import Measured, measure, warnings_of
from axolotl_grpo_plugin.stats.rollouts import NoRollouts, Rollouts, read_rollouts
from axolotl_grpo_plugin.stats.rows import sources
from axolotl_grpo_plugin.stats.tokenizer import (
    Tokenizer,
    TokenizerError,
    name_of,
    open_tokenizer,
)

TOO_MANY_TRUNCATED = 0.3  # Axolotl's guide: clipped_ratio < 0.3


def read(file: str, options: Mapping[str, Any] | None = None) -> Any:
    """A raw config, as Axolotl reads it. Raises ConfigError.

    options: the command line's, as Axolotl's parser names them: {"trl__beta": "0.1"}.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            found = yaml.safe_load(opened)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: no Axolotl config: a YAML of keys and values is wanted")
    cfg = DictDefault({**found, "axolotl_config_path": file})
    for key, value in (options or {}).items():
        parent, _, child = key.partition("__")
        if child and not isinstance(cfg.get(parent), dict):
            cfg[parent] = {}
        holder = cfg[parent] if child else cfg
        holder[child or parent] = yaml.safe_load(value) if isinstance(value, str) else value
    return cfg


def load(file: str) -> Any:
    """A raw config whose prompts can be counted. Raises ConfigError."""
    cfg = read(file)
    if cfg.get("rl") not in ("grpo", "gdpo"):
        raise ConfigError(f"{file}: rl is {cfg.get('rl')!r}: lengths are counted for grpo and gdpo")
    if not paths.dicts(cfg.get("datasets")):
        raise ConfigError(f"{file}: no datasets: a list of them is wanted, each with a path")
    if not name_of(cfg):
        raise ConfigError(f"{file}: no base_model, whose tokenizer counts")
    return cfg


def without_config(datasets: Sequence[str], tokenizer: str, transform: str | None) -> Any:
    """The config that names these alone."""
    entries = [{"path": path, **({"type": transform} if transform else {})} for path in datasets]
    return DictDefault({"rl": "grpo", "base_model": tokenizer, "datasets": entries})


class Stats:
    """One call of the command: what was counted, and what is wrong with it."""

    def __init__(self, cfg: Any):
        paths.add_working_folder()
        self.cfg = cfg
        self.sources = sources(cfg)  # named before their paths are resolved
        self.own = name_of(cfg)
        paths.resolve_packaged(cfg)
        self.counted: list[tuple[Tokenizer, list[Measured]]] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.rollouts: Rollouts | None = None

    def count(self, others: Sequence[str], gold: str | None) -> None:
        """Count all datasets under the config's tokenizer, and under others."""
        console = Console(stderr=True)
        shown = console.is_terminal
        with Progress(console=console, transient=True, disable=not shown) as progress:
            for name in dict.fromkeys([self.own, *others]):
                cfg = self.cfg
                if name != self.own:
                    cfg = DictDefault({**cfg, "tokenizer_config": name})
                try:
                    tokenizer = open_tokenizer(cfg)
                    tokenizer.name = name
                    self.counted.append((tokenizer, self._measured(cfg, tokenizer, gold, progress)))
                except TokenizerError as error:
                    self.problems.append(str(error))

    def _measured(
        self, cfg: Any, tokenizer: Tokenizer, gold: str | None, progress: Progress
    ) -> list[Measured]:
        made = []
        for source in self.sources:
            task = progress.add_task(f"{tokenizer.name}: {source.name}", total=None)

            def said(done: int, of: int, task: Any = task) -> None:
                progress.update(task, completed=done, total=of)

            found = measure(source, cfg, tokenizer, gold, said)
            progress.remove_task(task)
            made.append(found)
            self.problems += found.problems
            if found.bad and found.prompts.rows:
                self.problems.append(f"{source.name}: {found.bad:,} rows are not counted")
        self.warnings += warnings_of(tokenizer, made)
        return made

    def read_rollouts(self, folder: str) -> None:
        tokenizer = self.counted[0][0] if self.counted else None
        try:
            self.rollouts = read_rollouts(Path(folder), tokenizer, completion_of(self.cfg))
        except NoRollouts as error:
            self.problems.append(str(error))

    def completion(self, said: int | None) -> tuple[int, str]:
        """trl.max_completion_length to propose, and why."""
        if said:
            return said, "as given"
        if self.rollouts:
            enough = self.rollouts.enough()
            if enough:
                return enough, "99 % of the rollouts end within it"
            twice = STEP * ceil(2 * self.rollouts.limit / STEP)
            return twice, "twice the rollouts' limit, which cut off more than 1 %"
        if present := completion_of(self.cfg):
            return present, "the YAML's"
        gold = Lengths.together(each.gold for _, found in self.counted for each in found)
        if gold.rows and gold.at(0.99) > COMPLETION:
            return STEP * ceil(gold.at(0.99) / STEP), "99 % of the gold completions are no longer"
        return COMPLETION, "assumed, for nothing says how long they are"

    def widest(self, own: bool) -> Lengths | None:
        """The prompts to propose for: a config's own tokenizer's; without one, those with the longest."""
        prompts = [
            show.together(each)
            for tokenizer, each in self.counted
            if tokenizer.name == self.own or not own
        ]
        counted = (each for each in prompts if each.rows)
        return max(counted, key=lambda each: each.most, default=None)

    def holds(self, chosen: Budget | None) -> bool:
        """Whether the model can hold what is proposed; a note where it cannot."""
        for tokenizer, _ in self.counted:
            limit = tokenizer.context() if tokenizer.name == self.own else None
            if chosen and limit and chosen.context > limit:
                what = f"a context of {chosen.context} is more than the model's {limit}"
                mend = "--drop the longest rows, or shorten --max-completion-length"
                self.warnings.append(f"{self.own}: {what} (max_position_embeddings): {mend}")
                return False
        return True

    def note_gold(self, completion: int) -> None:
        """Gold completions are a floor: what does not hold them cuts right answers off."""
        for tokenizer, measured in self.counted:
            for each in measured:
                if over := each.gold.over(completion):
                    share = over / each.gold.rows
                    what = f"{share:.1%} of the column {each.gold_column!r} are longer than {completion} tokens"
                    self.warnings.append(f"{tokenizer.name}, {each.label}: {what}")

    def fits(self, drop: float) -> list[Verdict]:
        """The YAML's present numbers, under its own tokenizer."""
        if not self.counted or self.counted[0][0].name != self.own:
            return []
        tokenizer, measured = self.counted[0]
        prompts = show.together(measured)
        made = check(self.cfg, prompts, drop, tokenizer.context()) if prompts.rows else []
        if self.rollouts:
            share = self.rollouts.share
            what = f"{share:.1%} of the rollouts were truncated"
            made.append(Verdict(share <= TOO_MANY_TRUNCATED, what))
        return made


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
    write: bool,
    yes: bool,
) -> int:
    """Count, show, and return the exit code: 1 where something could not be counted, or a check fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know no blocks and no emoji
    if config:
        stats = Stats(load(config))
    else:
        stats = Stats(without_config(datasets, tokenizers[0], transform))
    stats.count(tokenizers, gold)
    if rollouts:
        stats.read_rollouts(rollouts)
    widest = stats.widest(bool(config))
    completion, why = stats.completion(max_completion_length)
    stats.note_gold(completion)
    chosen = budget(widest, completion, drop) if widest else None
    held = stats.holds(chosen)
    verdicts = stats.fits(drop) if config else []
    if as_json:
        click.echo(json.dumps(_plain(stats, chosen, verdicts), indent=2, ensure_ascii=False))
    else:
        _show(stats, why, verdicts, widest, chosen)
    if plot and widest and chosen:
        from axolotl_grpo_plugin.stats.plot import plot as draw

        Path(plot).parent.mkdir(parents=True, exist_ok=True)
        draw(stats.counted, budgets(widest, completion), chosen, Path(plot))
        Console(stderr=True).print(f"wrote {plot}", highlight=False)
    for line in dict.fromkeys(stats.problems):
        click.secho(line, fg="red", err=True)
    if write and config and chosen:
        if stats.problems or not held:
            raise ConfigError(f"{config}: nothing is written while something is wrong (above)")
        _write(Path(config), settings(stats.cfg, chosen), yes, as_json)
    failed = checked and not all(verdict.ok for verdict in verdicts)
    return int(bool(stats.problems) or failed)


def _show(
    stats: Stats,
    why: str,
    verdicts: list[Verdict],
    prompts: Lengths | None,
    chosen: Budget | None,
) -> None:
    out = Console()
    if prompts and chosen:
        for tokenizer, each in stats.counted:
            out.print(show.distribution(tokenizer.name, each))
            out.print(show.longest(each))
            out.print()
        out.print(show.histogram(prompts, chosen.context - chosen.completion))
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
    for verdict in verdicts:
        style, word = ("green", "OK  ") if verdict.ok else ("red", "FAIL")
        out.print(f"[bold {style}]{word}[/] {escape(verdict.line)}", highlight=False)


def _plain(stats: Stats, chosen: Budget | None, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "tokenizers": [
            {
                "tokenizer": tokenizer.name,
                "tokenizer_hash": tokenizer.hash(),
                "template": tokenizer.template_source,
                "template_hash": tokenizer.template_hash(),
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
        "checks": [verdict._asdict() for verdict in verdicts],
        "problems": list(dict.fromkeys(stats.problems)),
    }


def _write(file: Path, values: dict[str, int], yes: bool, aside: bool) -> None:
    """Show what would change in the YAML, ask, and change it."""
    with file.open(encoding="utf-8", newline="") as opened:
        text = opened.read()
    try:
        made = edited(text, values)
    except EditError as error:
        raise ConfigError(f"{file}: {error}") from error
    now, then = text.splitlines(), made.splitlines()
    changes = list(difflib.unified_diff(now, then, str(file), "proposed", lineterm="", n=1))
    if not changes:
        click.echo(f"{file} says so already", err=aside)
        return
    colors = {"+": "green", "-": "red"}
    for line in changes:
        click.secho(line, fg=colors.get(line[0]), err=aside)
    if yes or click.confirm(f"Write {file}?", err=aside):
        try:
            with file.open("w", encoding="utf-8", newline="") as opened:
                opened.write(made)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error}") from error

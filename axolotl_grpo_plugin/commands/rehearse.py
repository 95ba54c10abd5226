"""`axolotl grpo rehearse CONFIG`: real steps of a config on this machine, with a tiny random model."""

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from textwrap import indent
from typing import Any

import click
import yaml
from huggingface_hub import constants

from axolotl_grpo_plugin import hub, paths
from axolotl_grpo_plugin.checks.samples import RewardError, Sample, gold_scores, samples
from axolotl_grpo_plugin.checks.tools import shown_tools
from axolotl_grpo_plugin.commands import check as command
from axolotl_grpo_plugin.commands.rewards import console
from axolotl_grpo_plugin.config import limit_prompts, read_config
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.rehearsal.replace import ROWS, STEPS, least_gpus, local_rows, replaced
from axolotl_grpo_plugin.rehearsal.results import check_checkpoint, check_pays, check_resumed, table
from axolotl_grpo_plugin.rehearsal.tiny import check_modules, make
from axolotl_grpo_plugin.rehearsal.trainer import Trainer
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.stats.rows import sources
from axolotl_grpo_plugin.stats.tokenizer import TokenizerError, name_of, open_tokenizer

STAND_IN = "pkg://axolotl_grpo_plugin/quickstart/model"
SHOWN = 8  # completions
COLORS = {"error": "red", "warning": "yellow", "skipped": "cyan"}


def run(
    config: str,
    *,
    gpus: int | None,
    data_files: Sequence[str],
    tokenizer: str | None,
    out: str | None,
    offline: bool,
) -> int:
    """Check and rehearse the config, print what happened, and return the exit code: 0 if it is OK to rent."""
    if out and Path(out).exists() and any(Path(out).iterdir()):
        stop_on([Finding(f"--out {out}", "the folder is not empty", "Name a new one")])
    folder = Path(out or tempfile.mkdtemp(prefix="rehearsal-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    rehearsal, ok = Rehearsal(config, folder, offline), False
    try:
        ok = rehearsal.check(gpus, data_files, tokenizer) and rehearsal.run()
    finally:
        rehearsal.trainer.close()
        if out or (not ok and rehearsal.tried):
            click.echo(f"All files are in {folder}.")
        else:
            shutil.rmtree(folder)
    return int(not ok)


class Rehearsal:
    """The checks of a config, two steps, one more from their checkpoint, and the results.

    skipped: the parts that this machine cannot try. tried: whether a training ran.
    """

    def __init__(self, config: str, folder: Path, offline: bool):
        self.config, self.folder, self.offline = config, folder, offline
        self.started = time.monotonic()
        self.trainer = Trainer(folder / "training.log", trainings=2)
        self.file, self.output = folder / "rehearsal.yaml", folder / "run"
        self.skipped, self.tried = list[Finding](), False

    def check(self, gpus: int | None, data_files: Sequence[str], tokenizer: str | None) -> bool:
        """Check the config as `axolotl grpo check` does. Return whether there is no error."""
        cfg = read_config(self.config)
        options = local_rows(cfg, data_files)
        if tokenizer:
            options["tokenizer_config"] = tokenizer
        names = [cfg.get("base_model"), *(source.path for source in sources(cfg))]
        self.offline |= constants.HF_HUB_OFFLINE
        self.offline |= any(map(hub.is_on_hub, names)) and not self.offline and not hub.answers()
        machine = command.machine_of(least_gpus(cfg) if gpus is None else gpus, None, None)
        # Axolotl's loader of tokenizers reads the model's config.json, too.
        read = {"base_model_config": tokenizer} if tokenizer else {}
        checked = command.check(self.config, machine, self.offline, {**options, **read})
        command.show(checked, machine)
        self.skipped = [each for each in checked.findings if each.level == "skipped"]
        self.cfg = read_config(self.config, options)
        if uses_tools(self.cfg):
            what, fix = "not called, because random weights write no call", "Test them as functions"
            self.skipped.append(Finding("tools", what, fix, level="skipped"))
        return checked.ok

    def run(self) -> bool:
        """Train, resume and print the results. Return whether there is no error."""
        try:
            with hub.offline(self.offline):
                found = [*self._prepare()]
                if not any(each.level == "error" for each in found):
                    found += self._train()
        except ConfigError as error:
            if not error.findings:
                raise
            found = [*error.findings]
        ok = not any(each.level == "error" for each in found)
        for finding in [*found, *self.skipped * ok]:
            level = click.style(f"{finding.level:<9}", fg=COLORS[finding.level], bold=True)
            click.echo(f"  {level} {finding}")
        seconds, cpu = time.monotonic() - self.started, sum(os.times()[:4])
        gib = sum(getrusage(who).ru_maxrss for who in (RUSAGE_SELF, RUSAGE_CHILDREN)) / 2**20
        click.echo(f"{seconds:.0f} s, {cpu:.0f} s of CPU time, at most {gib:.1f} GiB of memory")
        verdict, color = "OK to rent" if ok else "not OK to rent", "green" if ok else "red"
        if ok and self.skipped:
            names = ", ".join(each.where for each in self.skipped)
            verdict, color = f"{verdict}, but not tried: {names}", "cyan"
        click.secho(verdict, fg=color, bold=True)
        return ok

    def _prepare(self) -> Iterator[Finding]:
        """Write the tiny model and the config for this machine. Print the replacements."""
        cfg = self.cfg
        paths.resolve_packaged(cfg)
        limit_prompts(cfg)
        model, line = make(cfg, self.folder / "model", self.offline)
        tokenizer = name_of(cfg)
        cfg["tokenizer_config"], cfg["base_model_config"] = tokenizer, str(self.folder / "model")
        lines = {"model": line}
        try:
            open_tokenizer(cfg)
        except TokenizerError as error:
            if not hub.is_on_hub(tokenizer):
                stop_on([error.finding])
            where = f"tokenizer ({tokenizer})"
            what = "not tried, nor its template: another stood in"
            fix = "Rehearse again with access to the hub, or with --tokenizer FOLDER"
            self.skipped = [each for each in self.skipped if each.where != where]
            self.skipped.append(Finding(where, what, fix, level="skipped"))
            lines["tokenizer"] = f"the quickstart's in place of {tokenizer}'s, which is not here"
            tokenizer = paths.packaged(STAND_IN)
            cfg["grpo_max_prompt_length"] = None  # counted in other tokens
        keys, more = replaced(cfg.to_dict(), str(self.folder / "model"), tokenizer, self.folder)
        self.file.write_text(yaml.safe_dump(keys, sort_keys=False, allow_unicode=True))
        click.secho("Replaced on this machine", bold=True)
        width = max(map(len, [*lines, *more]))
        for name, line in {**lines, **more}.items():
            click.echo(f"  {name:<{width}}  {line}")
        yield from check_modules(cfg, model)

    def _train(self) -> Iterator[Finding]:
        """Train, show the results, and resume."""
        cfg, rows = read_config(str(self.file)), list[Sample]()
        for source in sources(cfg):
            if source.key == "datasets":
                found = samples(cfg, source, self.offline, ROWS)
                if isinstance(found, Finding):
                    fix = f"{found.fix}, or give rows with --data-file"
                    yield found._replace(level="error", fix=fix)
                    return
                rows += found
        click.echo(f"Trains {STEPS} steps. Log: {self.trainer.log}", err=True)
        if not (yield from self._trained("the steps")):
            return
        logged = self._logged(STEPS)
        if not all(math.isfinite(log["loss"]) for log in logged):
            losses = [log["loss"] for log in logged]
            yield Finding("loss", f"not finite: {losses}", "Correct the rewards, or the settings")
        yield from self._show(cfg, rows)
        click.echo(f"Steps: {', '.join(f'{log.get("step_time", 0):.1f} s' for log in logged)}")
        checkpoint = self.output / f"checkpoint-{STEPS}"
        yield from check_checkpoint(checkpoint, cfg)
        if checkpoint.exists():
            click.echo("Trains one more step from the checkpoint", err=True)
            words = ["--max-steps", str(STEPS + 1), "--resume-from-checkpoint", str(checkpoint)]
            if (yield from self._trained("the step after the resume", *words)):
                yield from check_resumed([log["step"] for log in self._logged(STEPS + 1)])

    def _trained(self, part: str, *words: str) -> Generator[Finding, None, bool]:
        """Run `axolotl train` with options. Return whether it succeeded."""
        self.tried = True
        error = self.trainer.train([str(self.file), *words], self.offline)
        if error:
            what = f"the training failed:\n{indent(error.strip(), '    ')}\n   "
            yield Finding(part, what, f"Its log is {self.trainer.log}")
        return not error

    def _logged(self, step: int) -> list[Any]:
        """Return the trainer's logs of the steps up to a checkpoint."""
        file = self.output / f"checkpoint-{step}" / "trainer_state.json"
        logs = json.loads(file.read_text())["log_history"] if file.exists() else []
        return [log for log in logs if "loss" in log]

    def _show(self, cfg: Any, rows: list[Any]) -> Iterator[Finding]:
        """Print a prompt, its completions and a right answer with their rewards."""
        files = rollout_files(self.output).counted
        logged = [row for file in files for row in read(file)]
        prompt = logged[0]["prompt"]
        tokenizer, text = open_tokenizer(cfg), prompt
        tokenizer.tools = shown_tools(cfg)
        if not isinstance(prompt, str):
            text = tokenizer.text(prompt)
        elif tokenizer.ids([prompt]) != tokenizer.ids([prompt], special=True):
            text = tokenizer.bos + prompt
        click.secho(f"A prompt of {tokenizer.prompts([prompt])[0]} tokens", bold=True)
        click.echo(indent(text, "  | ", lambda line: True))
        # The first row of the log, and the first of the dataset if the log's pays nothing.
        asked = next((each for each in rows if each.row["prompt"] == prompt), rows[0])
        tried = list[tuple[str, dict[str, float]]]()
        try:
            tried.append(gold_scores(cfg, asked))
            if not any(tried[0][1].values()):
                tried.append(gold_scores(cfg, rows[0]))
        except RewardError as error:
            yield Finding("right answer", str(error), error.fix, error.detail)
        group = [row for row in logged if row["prompt"] == prompt][:SHOWN]
        console().print(table(cfg, group, *(tried or [("", {})])[0]))
        yield from check_pays(cfg, logged, tried)

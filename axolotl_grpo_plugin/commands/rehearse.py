"""`axolotl grpo rehearse CONFIG`: real steps of a config on this machine, with a tiny random model."""

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from textwrap import indent
from typing import Any

import click
import yaml
from huggingface_hub import constants
from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin import hub, paths, rollouts
from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.checks.samples import RewardError, Sample, gold_scores, samples
from axolotl_grpo_plugin.commands.check import Checked, check, machine_of, show
from axolotl_grpo_plugin.commands.rewards import console
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import dicts, limit_prompts, read_config
from axolotl_grpo_plugin.findings import Finding, at, first_line, stop_on
from axolotl_grpo_plugin.load import logged_names, reward_refs
from axolotl_grpo_plugin.rehearsal.replace import ROWS, STEPS, replaced
from axolotl_grpo_plugin.rehearsal.trainer import Ended, Trainer
from axolotl_grpo_plugin.serving.placement import mode_of, serving
from axolotl_grpo_plugin.stats.rows import sources
from axolotl_grpo_plugin.stats.tokenizer import TokenizerError, name_of, open_tokenizer
from axolotl_grpo_plugin.training.report import short

STAND_IN = "pkg://axolotl_grpo_plugin/quickstart/model"
COMPLETIONS = 8  # shown
OF_GPUS = ("bf16", "fp16", "tf32", "load_in_4bit", "load_in_8bit", "deepspeed", "fsdp_config")
OF_HUB = ("name", "split", "ds_type", "data_files", "revision", "trust_remote_code")


def run(
    config: str,
    *,
    gpus: int | None,
    data_files: Sequence[str],
    tokenizer: str | None,
    out: str | None,
) -> int:
    """Rehearse, print what happened, and return the exit code: 1 if the config must not be rented for."""
    started = time.monotonic()
    if out and Path(out).exists() and any(Path(out).iterdir()):
        stop_on([Finding(f"--out {out}", "the folder is not empty", "Name a new one")])
    cfg = read_config(config)
    options = local_rows(cfg, data_files)
    if tokenizer:
        options["tokenizer_config"] = tokenizer
    names = [cfg.get("base_model"), *(source.path for source in sources(cfg))]
    if not constants.HF_HUB_OFFLINE and any(map(hub.is_on_hub, names)) and not hub.answers():
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the training
        constants.HF_HUB_OFFLINE = True
    folder = Path(out or tempfile.mkdtemp(prefix="rehearsal-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(folder / "training.log")
    machine = machine_of(least_gpus(cfg) if gpus is None else gpus, None, None)
    checked = check(config, machine, constants.HF_HUB_OFFLINE, options)
    show(checked, machine)
    code = 1
    if checked.ok:
        rehearsal = Rehearsal(config, options, folder, trainer)
        code = rehearsal.run(checked, started)
    if code and not out and not checked.ok:
        click.echo("Not rehearsed. Correct the errors first.")
    if out or (code and checked.ok):
        click.echo(f"All files are in {folder}.")
    else:
        shutil.rmtree(folder)
    return code


def least_gpus(cfg: Any) -> int:
    """Return the fewest GPUs that can run a config."""
    mode = mode_of(cfg)
    if mode == "server":
        return serving(cfg) + 1
    return int(mode == "colocate" or any(cfg.get(key) for key in OF_GPUS))


def local_rows(cfg: Any, files: Sequence[str]) -> dict[str, Any]:
    """Return datasets and test_datasets with files in place of names on the hub.

    One file per name, in the order of the config. Raises: ConfigError if there are more files.
    """
    names = list(dict.fromkeys(each.path for each in sources(cfg) if hub.is_on_hub(each.path)))
    if len(files) > len(names):
        what = f"{len(files)} files for {len(names)} datasets of the hub ({', '.join(names)})"
        stop_on([Finding("--data-file", what, "Give one for each, in the order of the config")])
    file_of = dict(zip(names, files, strict=False))
    kinds = {".parquet": "parquet", ".csv": "csv"}
    options: dict[str, Any] = {}
    for key in ("datasets", "test_datasets") if files else ():
        options[key] = []
        for entry in dicts(cfg.get(key)):
            if file := file_of.get(entry.get("path")):
                kept = {name: value for name, value in entry.items() if name not in OF_HUB}
                kind = kinds.get(Path(file).suffix, "json")
                entry = {**kept, "path": file, "ds_type": kind, "split": "train"}
            options[key].append(dict(entry))
    return {key: value for key, value in options.items() if value}


class Rehearsal:
    """Two steps of a checked config, one from its checkpoint, and the results of both."""

    def __init__(self, config: str, options: dict[str, Any], folder: Path, trainer: Trainer):
        self.cfg, self.folder, self.trainer = read_config(config, options), folder, trainer
        self.file, self.output = folder / "rehearsal.yaml", folder / "run"
        self.ended: list[Ended] = []

    def run(self, checked: Checked, started: float) -> int:
        """Train, resume, print the results, and return the exit code."""
        found = [*self._prepare(), *self._train()]
        errors = [each for each in found if each.level == "error"]
        for finding in found:
            color = "red" if finding.level == "error" else "yellow"
            click.echo(f"  {click.style(f'{finding.level:<9}', fg=color, bold=True)} {finding}")
        seconds, gib = time.monotonic() - started, max((each.gib for each in self.ended), default=0)
        click.echo(f"\n{seconds:.0f} s in all, at most {gib:.1f} GiB of memory")
        skipped = [each.where for each in checked.findings if each.level == "skipped"]
        verdict = "not OK to rent" if errors else "OK to rent"
        if skipped and not errors:
            verdict += f", but not tried: {', '.join(skipped)}"
        color = "red" if errors else "cyan" if skipped else "green"
        click.secho(verdict, fg=color, bold=True)
        return int(bool(errors))

    def _prepare(self) -> Iterator[Finding]:
        """Write tiny model and config, and print the replacements."""
        from axolotl_grpo_plugin.rehearsal.tiny import check_modules, make

        cfg, offline = self.cfg, constants.HF_HUB_OFFLINE
        paths.resolve_packaged(cfg)
        limit_prompts(cfg)
        lines = {}
        if str(name := self.cfg.get("base_model")):
            model, lines["model"] = make(cfg, self.folder / "model", offline)
        tokenizer = name_of(cfg)
        try:
            with hub.offline(offline):
                open_tokenizer(cfg)
        except TokenizerError as error:
            if not hub.is_on_hub(tokenizer):
                yield error.finding
                return
            tokenizer = paths.packaged(STAND_IN)
            cfg["grpo_max_prompt_length"] = None  # counted in other tokens
            lines["tokenizer"] = f"the quickstart's in place of {name}'s, which is not here"
        keys, more = replaced(cfg.to_dict(), str(self.folder / "model"), tokenizer, self.folder)
        self.file.write_text(yaml.safe_dump(keys, sort_keys=False, allow_unicode=True))
        click.secho("Replaced on this machine", bold=True)
        for name, line in {**lines, **more}.items():
            click.echo(f"  {name:<{max(map(len, [*lines, *more]))}}  {line}")
        yield from check_modules(cfg, model)

    def _train(self) -> Iterator[Finding]:
        """Train, resume and show. Yield the faults."""
        if not self.file.exists():
            return
        rows = list[Sample]()
        cfg = read_config(str(self.file))
        for source in sources(cfg):
            if source.key == "datasets":
                found = samples(cfg, source, constants.HF_HUB_OFFLINE, ROWS)
                if isinstance(found, Finding):
                    fix = f"{found.fix}, or give rows with --data-file"
                    yield found._replace(level="error", fix=fix)
                    return
                rows += found
        click.echo(f"\nTrains {STEPS} steps (log: {self.trainer.log})", err=True)
        if not (yield from self._finished([])):
            return
        state = self._state(STEPS)
        losses = [log["loss"] for log in state["log_history"] if "loss" in log]
        if not all(map(math.isfinite, losses)):
            yield Finding("loss", f"not finite: {losses}", "See the log")
        yield from self._show(cfg, rows)
        times = [log["step_time"] for log in state["log_history"] if "step_time" in log]
        click.echo(f"Steps: {', '.join(f'{each:.1f} s' for each in times)}")
        yield from self._resume()

    def _finished(self, words: Sequence[str]) -> Any:
        """Train with more options. Yield the error if it fails, and return whether it succeeded."""
        self.ended.append(self.trainer.train([str(self.file), *words]))
        error = self.ended[-1].error.replace(f"{self.file}: ", "")
        if error:
            what = f"the training failed:\n{indent(error, '    ')}\n"
            yield Finding("steps" if not words else "resume", what, f"See {self.trainer.log}")
        return not error

    def _state(self, step: int) -> Any:
        file = self.output / f"checkpoint-{step}" / "trainer_state.json"
        return json.loads(file.read_text()) if file.exists() else {"log_history": []}

    def _resume(self) -> Iterator[Finding]:
        checkpoint = self.output / f"checkpoint-{STEPS}"
        yield from check_checkpoint(checkpoint, self.cfg)
        if not checkpoint.exists():
            return
        click.echo("Trains one more step from the checkpoint", err=True)
        words = ["--max-steps", str(STEPS + 1), "--resume-from-checkpoint", str(checkpoint)]
        if not (yield from self._finished(words)):
            return
        yield from check_resumed(self._state(STEPS + 1))

    def _show(self, cfg: Any, rows: list[Sample]) -> Iterator[Finding]:
        """Print a prompt, its completions and the gold answer with their rewards."""
        logged = [row for file in rollouts.files_of(self.output) for row in rollouts.read(file)]
        group = [row for row in logged if row["prompt"] == logged[0]["prompt"]]
        prompt = group[0]["prompt"]
        tokenizer = open_tokenizer(cfg)
        text = prompt if isinstance(prompt, str) else tokenizer.text(prompt)
        if isinstance(prompt, str) and tokenizer.bos:
            ((first, *_),) = tokenizer.ids([text], special=True)
            text = tokenizer.bos * ([first] == tokenizer.ids([tokenizer.bos])[0]) + text
        click.secho(f"\nA prompt ({tokenizer.prompts([prompt])[0]} tokens)", bold=True)
        click.echo(indent(text, "  | ", lambda line: True))
        asked = next((each for each in rows if each.row["prompt"] == prompt), rows[0])
        tried = list[tuple[str, dict[str, float]]]()
        try:
            for sample in (asked, *rows[:1]):
                tried.append(gold_scores(cfg, sample))
        except RewardError as error:
            yield Finding("gold answer", str(error), error.fix, error.detail)
        names = logged_names(reward_refs(cfg))
        _table(names, list(islice(group, COMPLETIONS)), *(tried[0] if tried else ("", {})), cfg)
        yield from check_pays(cfg, logged, tried)


def _table(
    names: list[str], group: list[Any], gold: str, earned: dict[str, float], cfg: Any
) -> None:
    table = Table("", *map(short, names), "completion", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, row in enumerate(group, 1):
        scores = [row.get(rollouts.REWARD + name) for name in names]
        table.add_row(str(number), *map(_score, scores), _line(text_of(row["completion"])))
    scores = [earned.get(each.key) for each in reward_refs(cfg)]
    table.add_row("gold", *map(_score, scores), _line(gold or "not known"), style="bold")
    console().print(table)


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _line(text: str) -> Text:
    text = "".join(c if c.isprintable() else " " for c in text)
    return Text(text[:40], no_wrap=True)


def check_pays(
    cfg: Any, logged: Sequence[Any], tried: Sequence[tuple[str, dict[str, float]]]
) -> Iterator[Finding]:
    """Check that some reward pays something: for a completion, or for a right answer.

    logged: rollouts. tried: right answers with their scores, empty if none is known.
    """
    golds = [(gold, earned) for gold, earned in tried if earned]
    best = [value for _, earned in golds for value in earned.values()]
    best += [
        value
        for row in logged
        for key, value in row.items()
        if key.startswith(rollouts.REWARD) and value is not None
    ]
    highest = [function.highest for _, _, function in functions_in(cfg)]
    if max(best, default=0.0) > 0 or all(each is not None and each <= 0 for each in highest):
        return
    what = f"no reward paid for any of {len(logged)} completions"
    fix = "Score a right completion with `axolotl grpo score`, and correct the reward"
    if golds:
        what += f", nor for the right answer {golds[0][0]!r:.100}"
        yield Finding(at(cfg, "trl.reward_funcs"), what, fix)
    else:
        what += ", and no right answer is known to try"
        yield Finding(at(cfg, "trl.reward_funcs"), what, fix, level="warning")


def check_checkpoint(checkpoint: Path, cfg: Any) -> Iterator[Finding]:
    """Check that a checkpoint has the state of trainer and optimizer."""
    if not (checkpoint / "trainer_state.json").exists():
        what = "the run wrote no checkpoint"
        yield Finding(checkpoint.name, what, "See the log for the reason")
    elif not any(checkpoint.glob("optimizer*")):
        what = "it does not resume, because it has no state of the optimizer"
        fix = "Remove save_only_model, if a run that stops must go on"
        yield Finding(at(cfg, "save_only_model"), what, fix, level="warning")


def check_resumed(state: Any) -> Iterator[Finding]:
    """Check by the trainer's state that the resumed run went on after the checkpoint's step."""
    steps = [log["step"] for log in state["log_history"] if "loss" in log]
    if steps != list(range(1, STEPS + 2)):
        what = f"the resumed run logged the steps {steps}, so it did not go on after {STEPS}"
        yield Finding("resume", what, "See the log for the reason")

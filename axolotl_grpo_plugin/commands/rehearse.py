"""`axolotl-grpo rehearse CONFIG`: real steps of a config on this machine, with a tiny random model."""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from math import isfinite
from pathlib import Path
from textwrap import indent
from typing import Any

import click
import yaml
from huggingface_hub import constants

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.versions import install
from axolotl_grpo_plugin.commands import check as command
from axolotl_grpo_plugin.config import Config, limit_prompts, read_config
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.data.tokenizer import TokenizerError, name_of, open_tokenizer
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import Finding, FindingError, fault
from axolotl_grpo_plugin.load import plain
from axolotl_grpo_plugin.output.files import writing
from axolotl_grpo_plugin.rehearsal.overlay import (
    ROWS,
    STEPS,
    least_gpus,
    local_rows,
    merged,
    overlay_of,
    untried_engine,
)
from axolotl_grpo_plugin.rehearsal.results import (
    Best,
    RightAnswer,
    best_scores,
    check_checkpoint,
    check_pays,
    check_resumed,
)
from axolotl_grpo_plugin.rehearsal.tiny import check_modules, make
from axolotl_grpo_plugin.rehearsal.trainer import Trainings
from axolotl_grpo_plugin.report.console import print_json
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.rewards import short
from axolotl_grpo_plugin.trying.samples import RewardError, gold_scores, training_samples

STAND_IN = "pkg://axolotl_grpo_plugin/quickstart/model"
GOLDS = 2  # right answers to try


def run(
    config: str,
    *,
    gpus: int | None,
    ranks: int,
    data: Sequence[str],
    tokenizer: str | None,
    out: str | None,
    as_json: bool,
) -> int:
    """Check and rehearse the config, and print what happened.

    as_json: only the result goes to the standard output. Returns the exit code: 0 if it is OK to rent.
    """
    folder = Path(out or tempfile.mkdtemp(prefix="rehearsal-")).absolute()
    paths.check_empty(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rehearsal = Rehearsal(config, folder, ranks)
    ok = False
    shown = redirect_stdout(sys.stderr if as_json else sys.stdout)
    try:
        with shown:
            ok = rehearsal.check(gpus, data, tokenizer) and rehearsal.run()
    finally:
        rehearsal.trainer.close()
        if out or (rehearsal.tried and not ok):
            click.echo(f"All files are in {folder}.", err=as_json)
        else:
            shutil.rmtree(folder)
    if as_json:
        findings = [*rehearsal.checked.findings, *rehearsal.found]
        print_json(
            {
                "ok": ok,
                "findings": [finding._asdict() for finding in findings],
                "rewards": [reward._asdict() for reward in rehearsal.best],
            }
        )
    return int(not ok)


class Rehearsal:
    """The checks of a config, two steps, one more from their checkpoint, and the results.

    found: the findings. skipped: those of the parts that this machine cannot try, by their places.
    tried: whether a training ran.
    """

    def __init__(self, config: str, folder: Path, ranks: int):
        self.config = config
        self.folder = folder
        self.offline = constants.HF_HUB_OFFLINE
        self.trainer = Trainings(folder / "training.log", 2, ranks)
        self.file = str(folder / "rehearsal.yaml")
        self.output = folder / "run"
        self.found: list[Finding] = []
        self.skipped: dict[str, Finding] = {}
        self.best: list[Best] = []
        self.tried = False

    def check(self, gpus: int | None, data: Sequence[str], tokenizer: str | None) -> bool:
        """Check the config as `axolotl-grpo check` does. Return whether there is no error."""
        cfg = read_config(self.config)
        if gpus is None:
            gpus = least_gpus(cfg, self.trainer.ranks)
        machine = command.machine_of(gpus, None, None)
        options = local_rows(cfg, data)
        read_by_check = options
        if tokenizer:
            options["tokenizer_config"] = tokenizer
            # Axolotl's loader of tokenizers reads the model's config.json, too.
            read_by_check = {**options, "base_model_config": tokenizer}
        self.checked = checked = command.check(self.config, machine, self.offline, read_by_check)
        command.show(checked, machine)
        self.skipped = {
            finding.where: finding for finding in checked.findings if finding.level == "skipped"
        }
        if constants.ENDPOINT in self.skipped:  # the hub does not answer
            self.offline = True
        self.cfg = read_config(self.config, options)
        if uses_tools(self.cfg):
            self._skip(
                "tools",
                "not called, because random weights write no call",
                "Test them as functions",
            )
        if untried := untried_engine(self.cfg, self.trainer.ranks):
            key, reason = untried
            fix = "Rehearse with --ranks 2" if self.trainer.ranks == 1 else install(key)
            self._skip(key, f"left out, because {reason}", fix)
        return checked.ok

    def _skip(self, where: str, what: str, fix: str) -> None:
        self.skipped[where] = Finding(where, what, fix, level="skipped")

    def run(self) -> bool:
        """Train, resume and print the results. Return whether there is no error."""
        try:
            with hub.offline(self.offline):
                self._prepare()
                if self._ok() and self._read_rows() and self._train():
                    self._resume()
        except FindingError as error:
            self.found += error.findings
        ok = self._ok()
        if ok:
            self.found += self.skipped.values()
        for finding in self.found:
            click.echo(f"  {command.styled_level(finding)} {finding}")
        if not ok:
            click.secho("not OK to rent", fg="red", bold=True)
        elif unpaid := [
            finding.where for finding in self.checked.findings if finding.code == "unpaid-gold"
        ]:
            line = f"Look at the warning before you rent: {', '.join(unpaid)}"
            click.secho(line, fg="yellow", bold=True)
        elif self.skipped:
            names = ", ".join(self.skipped)
            click.secho(f"OK to rent, but not tried: {names}", fg="cyan", bold=True)
        else:
            click.secho("OK to rent", fg="green", bold=True)
        return ok

    def _ok(self) -> bool:
        return not any(finding.level == "error" for finding in self.found)

    def _prepare(self) -> None:
        """Write the tiny model and the config for this machine. Print the replaced values."""
        cfg = self.cfg
        paths.resolve_packaged(cfg)
        limit_prompts(cfg)
        folder = self.folder / "model"
        model, line = make(cfg, folder, self.offline)
        click.secho("Replaced on this machine (null: left out)", bold=True)
        click.echo(f"  {line}")
        own = {
            "base_model": str(folder),
            "base_model_config": str(folder),
            "tokenizer_config": self._tokenizer(str(folder)),
            "output_dir": str(self.output),
            "dataset_prepared_path": str(self.folder / "prepared"),
            "axolotl_config_path": None,
        }
        keys = plain(cfg.raw)
        overlay = overlay_of(Config(keys), self.trainer.ranks)
        click.echo(indent(_yaml(overlay), "  "))
        Path(self.file).write_text(_yaml(merged(keys, {**overlay, **own})))
        self.found += check_modules(cfg, model)

    def _tokenizer(self, model: str) -> str:
        """Return the tokenizer's folder or hub name: the quickstart's if the config's is not here.

        Raises: FindingError if the config's own folder has no tokenizer that can be read.
        """
        name = name_of(self.cfg)
        self.cfg.raw.update(tokenizer_config=name, base_model_config=model)
        try:
            open_tokenizer(self.cfg)
            return name
        except TokenizerError as error:
            if not hub.is_on_hub(name):
                raise FindingError(error.finding) from error
        self._skip(
            f"tokenizer ({name})",
            "not tried, nor its template: another stood in",
            "Rehearse again with access to the hub, or with --tokenizer FOLDER",
        )
        click.echo(f"  tokenizer: the quickstart's in place of {name}'s, which is not here")
        self.cfg.raw["grpo_max_prompt_length"] = None  # counted in other tokens
        return paths.packaged(STAND_IN)

    def _read_rows(self) -> bool:
        """Read the first rows of the datasets. Return whether all can be read."""
        self.cfg = read_config(self.file)
        try:
            self.rows = training_samples(self.cfg, self.offline, ROWS)
        except FindingError as error:
            found = error.finding
            fix = f"{found.fix}, or give rows with --data"
            self.found.append(found._replace(fix=fix))
            return False
        return True

    def _train(self) -> bool:
        """Train, and show the results. Return whether there is a checkpoint."""
        click.echo(f"Trains {STEPS} steps. Log: {self.trainer.log}", err=True)
        if not self._trained("the steps"):
            return False
        losses = [log["loss"] for log in self._logged(STEPS)]
        if not all(map(isfinite, losses)):
            self.found.append(
                fault(
                    "loss", "loss", f"not finite: {losses}", "Correct the rewards, or the settings"
                )
            )
        self._show_results()
        checkpoint = self._checkpoint(STEPS)
        self.found += check_checkpoint(checkpoint)
        return checkpoint.exists()

    def _resume(self) -> None:
        click.echo("Trains one more step from the checkpoint", err=True)
        last = STEPS + 1
        if self._trained(
            "the step after the resume",
            f"--max-steps={last}",
            f"--resume-from-checkpoint={self._checkpoint(STEPS)}",
        ):
            self.found += check_resumed([log["step"] for log in self._logged(last)])

    def _trained(self, part: str, *options: str) -> bool:
        """Run `axolotl train` with options. Return whether it succeeded."""
        self.tried = True
        what, log = self.trainer.train([self.file, *options], self.offline)
        if what:
            self.found.append(fault("training-failed", part, what, f"Its log is {log}"))
        return not what

    def _checkpoint(self, step: int) -> Path:
        return self.output / f"checkpoint-{step}"

    def _logged(self, step: int) -> list[Any]:
        """Return the trainer's logs of the steps up to a checkpoint."""
        file = self._checkpoint(step) / "trainer_state.json"
        if not file.exists():
            return []
        logs = json.loads(file.read_text())["log_history"]
        return [log for log in logs if "loss" in log]

    def _show_results(self) -> None:
        """Print the rewards of the completions and of right answers."""
        logged = list(rollout_files(self.output).rows())
        answers: list[RightAnswer] = []
        try:
            answers = [gold_scores(self.cfg, sample) for sample in self.rows[:GOLDS]]
        except RewardError as error:
            self.found.append(error.finding._replace(where="right answer"))
        self.best = best_scores(self.cfg, logged, answers)
        for reward in self.best:
            scores = f"best completion {reward.completions}, right answer {reward.right}"
            click.echo(f"  {short(reward.name)}: {scores}")
        self.found += check_pays(self.best, next((text for text, _ in answers if text), ""))


def _yaml(values: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text

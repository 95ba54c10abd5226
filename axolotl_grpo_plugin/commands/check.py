"""`axolotl grpo check`."""

import json
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from huggingface_hub import constants

from axolotl_grpo_plugin import hub, paths
from axolotl_grpo_plugin.checks.batch import batch_of, check_batch, check_groups, check_rows
from axolotl_grpo_plugin.checks.config import check_config, check_keys, check_plugin
from axolotl_grpo_plugin.checks.ignored import check_twice, check_unread
from axolotl_grpo_plugin.checks.memory import check_memory, least_memory
from axolotl_grpo_plugin.checks.prefill import (
    check_end_tokens,
    check_generation_prompt,
    check_prefill,
)
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.reuse import check_reuse
from axolotl_grpo_plugin.checks.rewards import check_ready
from axolotl_grpo_plugin.checks.samples import Sample, check_samples, samples
from axolotl_grpo_plugin.checks.sources import check_sources
from axolotl_grpo_plugin.checks.tools import check_parallel_tools, check_tool_use
from axolotl_grpo_plugin.checks.traps import check_parallel, check_traps
from axolotl_grpo_plugin.checks.validation import (
    check_names,
    check_plugins,
    check_validation,
    loaded_plugins,
)
from axolotl_grpo_plugin.checks.versions import check_versions, check_wandb
from axolotl_grpo_plugin.config import is_grpo, read_config
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import ConfigError, Finding, at, first_line
from axolotl_grpo_plugin.serving.placement import Placement, place, visible_gpus
from axolotl_grpo_plugin.stats.rows import Source, sources

COLORS = {"error": "red", "warning": "yellow", "skipped": "cyan"}  # in the order of the output


@dataclass
class Machine:
    """The machine that a run is planned for.

    gpus: their ids. gib: memory of each, None if unknown. assumed: another machine than this one.
    image: a container of cloud.yaml, whose packages, servers and outputs cannot be checked here.
    """

    gpus: tuple[str, ...]
    gib: float | None
    assumed: bool
    processes: int | None = None
    image: bool = False


@dataclass
class Checked:
    """The result for one config: lines on placement, batch, memory and gold answers, and the findings."""

    config: str
    placement: str = ""
    batch: str = ""
    memory: str = ""
    golds: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def ok(self) -> bool:
        """No check found an error. Skipped checks may still hide one."""
        return not self.count("error")

    @property
    def verdict(self) -> str:
        if errors := self.count("error"):
            return f"{errors} error{'s' * (errors > 1)}"
        skipped = [finding.where for finding in self.findings if finding.level == "skipped"]
        return f"no error, but not checked: {', '.join(skipped)}" if skipped else "OK"


def run(
    configs: Sequence[str],
    *,
    gpus: int | None,
    gpu_memory: float | None,
    num_processes: int | None,
    offline: bool,
    as_json: bool,
) -> int:
    """Check the configs, print the findings, and return the exit code: 1 if any has an error."""
    machine = machine_of(gpus, gpu_memory, num_processes)
    results = []
    for file in _files(configs):
        checked = check(file, machine, offline)
        results.append(checked)
        if not as_json:
            show(checked, machine)
    if as_json:
        click.echo(json.dumps([_plain(each) for each in results], indent=2, ensure_ascii=False))
    return int(not all(each.ok for each in results))


def machine_of(gpus: int | None, memory: float | None, processes: int | None) -> Machine:
    """Return a machine with `gpus` GPUs of `memory` GB, or this one if gpus is None."""
    ids = tuple(visible_gpus() if gpus is None else map(str, range(gpus)))
    gib = memory and round(memory * 1e9 / 2**30, 1)
    if gpus is None and ids and gib is None:
        import torch

        gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Machine(ids, gib, gpus is not None, processes)


def check(
    file: str,
    machine: Machine,
    offline: bool = False,
    options: Mapping[str, Any] | None = None,
    also: Sequence[Callable[[Any], Iterable[Finding]]] = (),
) -> Checked:
    """Run all checks on one config. The process is left as it was.

    options: of the command line, by the names of Axolotl's parser. also: more checks of the raw config.
    """
    checked = Checked(file)
    found = checked.findings
    try:
        cfg = read_config(file, options)
        if is_grpo(cfg):
            paths.add_working_folder()
            for more in also:
                found += more(cfg)
            for finding in _findings(cfg, checked, machine, offline):
                found.append(finding)  # one by one, because the next check may fail
        else:
            fix = "Set provider: modal in cloud.yaml" if machine.image else "Set rl: grpo, or gdpo"
            found.append(Finding(at(cfg, "rl"), f"{cfg.get('rl')!r} is not supported here", fix))
    except ConfigError as error:
        what, _, fix = str(error).removeprefix(f"{file}: ").partition(". ")
        found += error.findings or [Finding(file, what, fix or "Correct the file")]
    except (Exception, SystemExit) as error:
        what = f"the check itself failed: {type(error).__name__}: {first_line(error)}"
        if any(finding.level == "error" for finding in found):
            fix = "Correct the other errors, and check again"
            found.append(Finding(file, "an error above prevents the other checks", fix))
        else:
            found.append(Finding(file, what, "Please report it", traceback.format_exc()))
    unique: dict[Any, Finding] = {}  # two checks may meet the same fault of a dataset
    for finding in found:
        finding = finding._replace(where=finding.where.removeprefix(f"{file}: "))
        unique.setdefault(finding[:3], finding)
    checked.findings = sorted(unique.values(), key=lambda each: list(COLORS).index(each.level))
    return checked


def _findings(cfg: Any, checked: Checked, machine: Machine, offline: bool) -> Iterator[Finding]:
    offline = offline or constants.HF_HUB_OFFLINE
    # Before paths are resolved. A transform reads `datasets` as a list.
    datasets = sources(cfg) if isinstance(cfg.get("datasets"), list) else []
    paths.resolve_packaged(cfg)
    names = [cfg.get("base_model"), *(source.path for source in datasets)]
    if not offline and any(map(hub.is_on_hub, names)) and not hub.answers():
        offline = True
        what, fix = "the hub does not answer", "Check again with a network, or with --offline"
        yield Finding(constants.ENDPOINT, what, fix, level="skipped")
    with loaded_plugins(cfg), hub.offline(False):
        wrong = [*check_plugins(cfg), *check_plugin(cfg), *check_keys(cfg), *check_config(cfg)]
    yield from wrong
    rewards_load = not any(".reward_funcs" in finding.where for finding in wrong)
    tools_load = uses_tools(cfg) and not any("grpo_" in finding.where for finding in wrong)
    yield from check_twice(checked.config)
    yield from check_unread(cfg)
    yield from check_traps(cfg)
    if not machine.image:
        yield from check_reuse(cfg)
        yield from check_versions(cfg, machine.assumed)
        yield from check_wandb(cfg, machine.assumed)
    placement = yield from _place(cfg, checked, machine)
    ranks = placement.processes if placement else machine.processes or 1
    yield from check_parallel(cfg, ranks)
    yield from check_parallel_tools(cfg, ranks)
    if rewards_load:
        yield from check_groups(cfg, ranks)
        if not machine.image:
            yield from check_ready(cfg, "skipped")
    batch = list(check_batch(cfg, ranks))
    yield from batch
    with hub.offline(offline):
        yield from check_names(cfg)
        for finding in check_validation(cfg, ranks, machine.assumed and bool(machine.gpus)):
            # Axolotl's message for a wrong batch says less than check_batch.
            says_less = batch and finding.what.startswith("GRPO")
            names_no_key = wrong and finding.where == at(cfg, "config")
            if not (says_less or names_no_key):
                yield finding
        found = yield from _check_datasets(cfg, checked, datasets, offline, rewards_load)
        rows, prompts = found
        yield from check_rows(cfg, ranks, prompts)
        if rows and prompts and tools_load:
            yield from check_tool_use(cfg, rows[0].row["prompt"])
    if placement and placement.train:  # not a CPU
        least = least_memory(cfg, placement)
        if isinstance(least, Finding):
            yield least
            return
        if least >= 0.1:
            checked.memory = f"at least {least:.1f} GiB of weights, gradients, optimizer per GPU"
        if machine.gib:
            yield from check_memory(cfg, placement, least, machine.gib)


def _check_datasets(
    cfg: Any, checked: Checked, datasets: list[Source], offline: bool, rewards_load: bool
) -> Generator[Finding, None, tuple[list[Sample], int]]:
    """Check the datasets. Return sampled rows, and the number of prompts to train on (0 if unknown)."""
    readable, rows = [], list[Sample]()
    for source in datasets:
        found = samples(cfg, source, offline)
        if isinstance(found, Finding):
            yield found
        else:
            readable.append(source)
            rows += found if source.key == "datasets" else []
    if rows and rewards_load:
        checked.golds = yield from check_samples(cfg, rows)
        for source in readable:
            yield from check_sources(cfg, source)
    counted = yield from check_prompts(cfg, readable, offline)
    if rows and counted:
        prompt = rows[0].row["prompt"]
        yield from check_generation_prompt(cfg, prompt)
        yield from check_end_tokens(cfg, prompt)
        if rewards_load:
            yield from check_prefill(cfg, prompt)
    return rows, counted


def _place(
    cfg: Any, checked: Checked, machine: Machine
) -> Generator[Finding, None, Placement | None]:
    """Set placement and batch of the result. Return the placement, None if there are too few GPUs."""
    try:
        placement = place(cfg, machine.gpus, machine.processes)
    except ConfigError as error:
        for finding in error.findings:
            fix = "Raise gpu in cloud.yaml, or set trl.vllm_mode: colocate to need fewer"
            yield finding._replace(fix=fix) if machine.image else finding
        return None
    ranks = f"{placement.processes} process{'es' * (placement.processes > 1)}"
    gpus = f"{ranks} on GPU {', '.join(placement.train)}"
    checked.placement = gpus if placement.train else f"CPU, {ranks}"
    if placement.serve:
        checked.placement += f"; vLLM on GPU {', '.join(placement.serve)}"
    elif placement.train and placement.mode == "colocate":
        checked.placement += "; vLLM on the same"
    batch = batch_of(cfg, placement.processes)
    checked.batch = str(batch) if batch and batch.num_generations > 0 else ""
    return placement


def _files(configs: Sequence[str]) -> Iterator[str]:
    for name in configs:
        files = sorted(map(str, Path(name).rglob("*.y*ml"))) if Path(name).is_dir() else [name]
        if not files:
            raise click.UsageError(f"{name}: no YAML file in this folder.")
        yield from files


def show(checked: Checked, machine: Machine) -> None:
    """Print the result for one config."""
    click.secho(checked.config, bold=True)
    assumed = machine.assumed and machine.gpus and not machine.image and checked.placement
    for name, text in (
        ("placement", checked.placement + " (assumed: Ampere or newer)" * bool(assumed)),
        ("batch", checked.batch),
        ("memory", checked.memory),
        *(("gold", each) for each in checked.golds),
    ):
        if text:
            click.echo(f"  {name:<9} {text}")
    for finding in checked.findings:
        level = click.style(f"{finding.level:<9}", fg=COLORS[finding.level], bold=True)
        click.echo(f"  {level} " + str(finding).replace("\n", "\n    "))
    color = "red" if not checked.ok else "cyan" if checked.count("skipped") else "green"
    click.secho(f"  {checked.verdict}", fg=color, bold=True)


def _plain(checked: Checked) -> dict[str, Any]:
    findings = [finding._asdict() for finding in checked.findings]
    return {**asdict(checked), "findings": findings, "verdict": checked.verdict, "ok": checked.ok}

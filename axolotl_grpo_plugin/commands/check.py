"""`axolotl grpo check`."""

import json
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import click
from huggingface_hub import constants

from axolotl_grpo_plugin import hub, paths
from axolotl_grpo_plugin.checks.batch import batch_of, check_batch, check_groups
from axolotl_grpo_plugin.checks.config import check_config, check_keys, check_plugin
from axolotl_grpo_plugin.checks.ignored import check_twice, check_unread
from axolotl_grpo_plugin.checks.memory import Memory, check_memory, least_memory
from axolotl_grpo_plugin.checks.prefill import check_prefill
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.reuse import check_reuse
from axolotl_grpo_plugin.checks.rewards import check_ready
from axolotl_grpo_plugin.checks.samples import Sample, check_samples, samples
from axolotl_grpo_plugin.checks.sources import check_sources
from axolotl_grpo_plugin.checks.traps import check_parallel, check_traps
from axolotl_grpo_plugin.checks.validation import check_plugins, check_validation, loaded_plugins
from axolotl_grpo_plugin.checks.versions import check_versions
from axolotl_grpo_plugin.config import read_config
from axolotl_grpo_plugin.findings import ConfigError, Finding, at, first_line
from axolotl_grpo_plugin.serving.placement import Placement, place, visible_gpus
from axolotl_grpo_plugin.stats.rows import sources

COLORS = {"error": "red", "warning": "yellow", "skipped": "cyan"}
ORDER = list(COLORS)
MORE = "Set gpu in cloud.yaml to so many, or use fewer (trl.vllm_mode: colocate shares them)"


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
    """The result for one config: a line each on placement, batch and memory, and the findings."""

    config: str
    placement: str = ""
    batch: str = ""
    memory: str = ""
    findings: list[Finding] = field(default_factory=list)

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def ok(self) -> bool:
        """No check found an error. Skipped checks may still hide one."""
        return not self.count("error")

    @property
    def verdict(self) -> str:
        errors, skipped = self.count("error"), self.count("skipped")
        if errors:
            return f"{errors} error{'s' * (errors > 1)}"
        return f"OK but for {skipped} skipped" if skipped else "OK"


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
    made = []
    for file in _files(configs):
        checked = check(file, machine, offline)
        made.append(checked)
        if not as_json:
            show(checked, machine)
    if as_json:
        click.echo(json.dumps([_plain(each) for each in made], indent=2, ensure_ascii=False))
    return int(not all(each.ok for each in made))


def machine_of(gpus: int | None, memory: float | None, processes: int | None) -> Machine:
    """Return a machine with so many GPUs of `memory` GB, or this one."""
    there = tuple(visible_gpus() if gpus is None else map(str, range(gpus)))
    gib = memory and round(memory * 1e9 / 2**30, 1)
    if gpus is None and there and gib is None:
        import torch

        gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Machine(there, gib, gpus is not None, processes)


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
    made = Checked(file)
    try:
        cfg = read_config(file, options)
        if cfg.get("rl") not in ("grpo", "gdpo"):
            what, fix = f"{cfg.get('rl')!r} is not checked here", "Set rl: grpo, or gdpo"
            if machine.image:
                what, fix = (
                    f"{cfg.get('rl')!r} is not started here",
                    "Write provider: modal for it",
                )
            made.findings = [Finding(at(cfg, "rl"), what, fix)]
        else:
            paths.add_working_folder()
            first = [finding for each in also for finding in each(cfg)]
            for finding in chain(first, _found(cfg, made, machine, offline)):
                made.findings.append(finding)  # one by one, because the next check may fail
    except ConfigError as error:
        what = str(error).removeprefix(f"{file}: ")
        made.findings += error.findings or [Finding(file, what, "Fix the file")]
    except (Exception, SystemExit) as error:
        what = f"the check itself failed: {type(error).__name__}: {first_line(error)}"
        finding = Finding(file, what, "Please report it", traceback.format_exc())
        made.findings.append(finding)
    made.findings = [_without_file(finding, file) for finding in made.findings]
    made.findings.sort(key=lambda finding: ORDER.index(finding.level))
    return made


def _found(cfg: Any, made: Checked, machine: Machine, offline: bool) -> Iterator[Finding]:
    closed = offline or constants.HF_HUB_OFFLINE
    # Before paths are resolved. A transform reads `datasets` as a list.
    named = sources(cfg) if isinstance(cfg.get("datasets"), list) else []
    paths.resolve_packaged(cfg)
    asked = [cfg.get("base_model"), *(source.path for source in named)]
    if not closed and any(map(hub.is_on_hub, asked)) and not hub.answers():
        closed = True
        what, fix = "does not answer", "Needs a network, unless you pass --offline"
        yield Finding(constants.ENDPOINT, what, fix, level="skipped")
    with loaded_plugins(cfg), hub.offline(False):
        wrong = [*check_plugins(cfg), *check_plugin(cfg), *check_keys(cfg), *check_config(cfg)]
    yield from wrong
    yield from check_twice(made.config)
    yield from check_unread(cfg)
    yield from check_traps(cfg)
    if not machine.image:
        yield from check_reuse(cfg)
        yield from check_versions(cfg, machine.assumed)
    placement = yield from _placed(cfg, made, machine)
    ranks = placement.processes if placement else machine.processes or 1
    yield from check_parallel(cfg, ranks)
    if not any(".reward_funcs" in finding.where for finding in wrong):
        yield from check_groups(cfg, ranks)
        if not machine.image:
            yield from check_ready(cfg, "skipped")
    shape = list(check_batch(cfg, ranks))
    yield from shape
    with hub.offline(closed):
        refused = list(check_validation(cfg, ranks, machine.assumed and bool(machine.gpus)))
    for finding in refused:
        if not (shape and finding.what.startswith("GRPO")):  # Axolotl's message for the same fault
            yield finding
    with hub.offline(closed):
        readable, rows = [], list[Sample]()
        for source in named:
            found = samples(cfg, source, closed)
            if isinstance(found, Finding):
                if str(found) not in map(str, wrong):
                    yield found
            else:
                readable.append(source)
                rows += found if source.key == "datasets" else []
        if rows and not any(".reward_funcs" in finding.where for finding in wrong):
            yield from check_samples(cfg, rows)
            for source in readable:
                yield from check_sources(cfg, source)
        counted = yield from check_prompts(cfg, readable, closed)
        if rows and counted and not any(".reward_funcs" in finding.where for finding in wrong):
            yield from check_prefill(cfg, rows[0].row["prompt"])
    if placement and placement.train:  # not a CPU
        memory = least_memory(cfg, placement)
        made.memory = str(memory) if isinstance(memory, Memory) else ""
        yield from check_memory(cfg, placement, memory, machine.gib)


def _placed(
    cfg: Any, made: Checked, machine: Machine
) -> Generator[Finding, None, Placement | None]:
    """Set placement and batch. Return the placement, None if there are too few GPUs."""
    try:
        placement = place(cfg, machine.gpus, machine.processes)
    except ConfigError as error:
        for finding in error.findings:
            yield finding._replace(fix=MORE) if machine.image else finding
        return None
    made.placement = _placement(placement)
    batch = batch_of(cfg, placement.processes)
    made.batch = str(batch) if batch and batch.num_generations > 0 else ""
    return placement


def _placement(placed: Placement) -> str:
    ranks = f"{placed.processes} process{'es' * (placed.processes > 1)}"
    if not placed.train:
        return f"CPU, {ranks}"
    parts = [f"{ranks} on GPU {', '.join(placed.train)}"]
    if placed.mode == "server":
        parts.append(f"vLLM on GPU {', '.join(placed.serve)}")
    elif placed.mode == "colocate":
        parts.append("vLLM on the same")
    return "; ".join(parts)


def _files(configs: Sequence[str]) -> Iterator[str]:
    for name in configs:
        if Path(name).is_dir():
            found = sorted(str(file) for file in Path(name).rglob("*.y*ml"))
            if not found:
                raise click.UsageError(f"{name}: no YAML file in this folder.")
            yield from found
        else:
            yield name


def _without_file(finding: Finding, file: str) -> Finding:
    return finding._replace(where=finding.where.removeprefix(f"{file}: "))


def show(checked: Checked, machine: Machine) -> None:
    """Print the result for one config."""
    click.secho(checked.config, bold=True)
    unknown = machine.assumed and machine.gpus and not machine.image
    assumed = " (assumed: Ampere or newer)" if unknown else ""
    for name, said in (
        ("placement", checked.placement and checked.placement + assumed),
        ("batch", checked.batch),
        ("memory", checked.memory),
    ):
        if said:
            click.echo(f"  {name:<9} " + said.replace("\n", "\n" + 12 * " "))
    for finding in checked.findings:
        level = click.style(f"{finding.level:<9}", fg=COLORS[finding.level], bold=True)
        click.echo(f"  {level} " + str(finding).replace("\n", "\n    "))
    color = "red" if not checked.ok else "cyan" if checked.count("skipped") else "green"
    click.secho(f"  {checked.verdict}", fg=color, bold=True)


def _plain(checked: Checked) -> dict[str, Any]:
    return {
        "config": checked.config,
        "placement": checked.placement,
        "batch": checked.batch,
        "memory": checked.memory,
        "findings": [finding._asdict() for finding in checked.findings],
        "verdict": checked.verdict,
        "ok": checked.ok,
    }

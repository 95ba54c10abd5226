"""`axolotl-grpo check`."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from huggingface_hub import constants

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.batch import batch_of
from axolotl_grpo_plugin.checks.config import check_rl
from axolotl_grpo_plugin.checks.data import Data, read_data
from axolotl_grpo_plugin.checks.memory import Memory
from axolotl_grpo_plugin.checks.table import Facts, findings
from axolotl_grpo_plugin.checks.validation import loaded_plugins
from axolotl_grpo_plugin.config import Config, is_grpo, read_config
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.findings import Finding, FindingError, fault, first_line
from axolotl_grpo_plugin.report.console import print_json
from axolotl_grpo_plugin.runlog.reader import readable
from axolotl_grpo_plugin.serving.nodes import check_idle, place_on_nodes
from axolotl_grpo_plugin.serving.placement import Placement, place, visible_gpus

Checks = Sequence[Callable[[Config], Iterable[Finding]]]

LONGEST = 2000  # characters of the prompt that is shown
COLORS = {"error": "red", "warning": "yellow", "skipped": "cyan"}  # in the order of the output


@dataclass
class Machine:
    """The machine that a run is planned for.

    gpus: their ids, on each node. gib: memory of each, None if unknown. assumed: another machine than this
    one. image: a container of cloud.yaml, whose packages, servers and outputs cannot be checked here.
    nodes: the number of such machines.
    """

    gpus: tuple[str, ...]
    gib: float | None
    assumed: bool
    processes: int | None = None
    image: bool = False
    nodes: int = 1


@dataclass
class Checked:
    """The result for one config: lines on placement, batch and memory, the first prompt, and the findings."""

    config: str
    placement: str = ""
    batch: str = ""
    memory: str = ""
    prompt: str = ""
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
            return f"errors: {errors}"
        skipped = [finding.where for finding in self.findings if finding.level == "skipped"]
        if skipped:
            return f"no error, but not checked: {', '.join(skipped)}"
        warnings = self.count("warning")
        if warnings == 1:
            return "OK, 1 warning"
        if warnings:
            return f"OK, {warnings} warnings"
        return "OK"


def run(
    configs: Sequence[str],
    *,
    gpus: int | None,
    nodes: int | None = None,
    gpu_memory: float | None,
    num_processes: int | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Check the configs, print the findings, and return the exit code: 1 if any has an error.

    strict: also 1 for warnings and skipped checks.
    """
    machine = machine_of(gpus, gpu_memory, num_processes, nodes or 1)
    results = []
    for file in _files(configs):
        checked = check(file, machine)
        results.append(checked)
        if not as_json:
            show(checked, machine)
    if as_json:
        print_json([_plain(checked) for checked in results])
    return int(any(not checked.ok or (strict and checked.findings) for checked in results))


def machine_of(
    gpus: int | None, memory: float | None, processes: int | None, nodes: int = 1
) -> Machine:
    """Return a machine with `gpus` GPUs of `memory` GB, or this one if gpus is None. nodes: how many of them."""
    gib = memory and round(memory * 1e9 / 2**30, 1)
    if gpus is not None:
        return Machine(tuple(map(str, range(gpus))), gib, True, processes, nodes=nodes)
    ids = tuple(visible_gpus())
    if ids and gib is None:
        import torch

        gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Machine(ids, gib, nodes > 1, processes, nodes=nodes)


def check(
    file: str,
    machine: Machine,
    offline: bool = False,
    options: Mapping[str, object] | None = None,
    also: Checks = (),
) -> Checked:
    """Run all checks on one config. The process is left as it was.

    options: of the command line, by the names of Axolotl's parser. also: more checks of the raw config.
    """
    checked = Checked(file)
    found = checked.findings
    try:
        cfg = read_config(file, options)
        _run_checks(cfg, checked, machine, offline, also)
    except FindingError as error:
        found += error.findings
    except (Exception, SystemExit) as error:  # a user's module may call sys.exit
        finding = fault(
            "prevented",
            file,
            "an error above prevents the other checks",
            "Correct the other errors, and check again",
        )
        if checked.ok:
            finding = Finding(
                file,
                f"the check itself failed: {type(error).__name__}: {first_line(error)}",
                "Please report it",
                traceback.format_exc(),
                code="check-failed",
            )
        found.append(finding)
    checked.findings = _sorted(found, f"{file}: ")
    return checked


def _sorted(findings: list[Finding], prefix: str) -> list[Finding]:
    """Return each finding once, errors first, without the config's file in their places."""
    unique: dict[tuple[str, str], Finding] = {}  # two checks may meet the same fault of a dataset
    for finding in findings:
        where = finding.where.removeprefix(prefix)
        unique.setdefault((where, finding.what), finding._replace(where=where))
    levels = list(COLORS)
    return sorted(unique.values(), key=lambda finding: levels.index(finding.level))


def _run_checks(
    cfg: Config, checked: Checked, machine: Machine, offline: bool, also: Checks
) -> None:
    """Run the table of checks, and add each finding at once, because the next check may fail."""
    found = checked.findings
    facts = Facts(cfg, only_checks=True, image=machine.image, elsewhere=machine.assumed)
    if not is_grpo(cfg):
        found.extend(check_rl(cfg, facts.use, machine.image))
        return
    paths.add_working_folder()
    for more in also:
        found.extend(more(cfg))
    # Before paths are resolved.
    datasets = sources(cfg)
    paths.resolve_packaged(cfg)
    facts.offline = offline or constants.HF_HUB_OFFLINE
    names = [cfg.base_model, *(source.path for source in datasets)]
    if not facts.offline and any(map(hub.is_on_hub, names)) and not hub.answers():
        facts.offline = True
        found.append(
            Finding(
                constants.ENDPOINT,
                "the hub does not answer",
                "Check again with a network, or with --offline",
                level="skipped",
                code="no-hub",
            )
        )
    _place(facts, checked, machine)
    with loaded_plugins(cfg), hub.offline(False):  # a model on the hub is no fault here
        found.extend(findings(facts, "yaml", "import"))
    with loaded_plugins(cfg), hub.offline(facts.offline):
        found.extend(findings(facts, "axolotl", "disk", "machine", "ranks"))
        # The shipped transforms read these keys.
        if not facts.has_error_in("grpo_columns", "grpo_examples"):
            facts.data = read_data(cfg, datasets, facts.offline, facts.rewards_load)
            found.extend(findings(facts, "data"))
            checked.prompt = _first_prompt(facts.data)
    if isinstance(facts.memory, Memory) and facts.memory.total >= 0.1:
        checked.memory = str(facts.memory)


def _first_prompt(data: Data) -> str:
    """Return the first prompt as the model sees it, "" if it cannot be rendered."""
    if not data.rows or not data.counted or data.opened is None:
        return ""
    try:
        return data.opened.seen(data.rows[0].row["prompt"])
    except Exception:  # a finding names the fault
        return ""


def _place(facts: Facts, checked: Checked, machine: Machine) -> None:
    """Set placement and batch of the facts and the result. Too few GPUs are a finding."""
    cfg = facts.cfg
    facts.gib, facts.ranks = machine.gib, machine.processes or 1
    try:
        if machine.nodes > 1:
            placement = place_on_nodes(cfg, machine.gpus, machine.nodes, machine.processes)
            checked.findings += check_idle(cfg, len(machine.gpus))
        else:
            placement = place(cfg, machine.gpus, machine.processes)
    except FindingError as error:
        for finding in error.findings:
            if machine.image:
                finding = finding._replace(
                    fix="Raise gpu in cloud.yaml, or set trl.vllm_mode: colocate to need fewer"
                )
            checked.findings.append(finding)
        return
    facts.placement, facts.ranks = placement, placement.processes
    checked.placement = _placement_text(placement, machine.nodes)
    batch = batch_of(cfg, placement.processes)
    if batch and batch.num_generations > 0:
        checked.batch = str(batch)


def _placement_text(placement: Placement, nodes: int) -> str:
    """Return a line for one machine, or a line for each of several nodes."""
    ranks = "1 process"
    if placement.per_node > 1:
        ranks = f"{placement.per_node} processes"
    trainer = f"CPU, {ranks}"
    if placement.train:
        trainer = f"{ranks} on GPU {', '.join(placement.train)}"
    if placement.train and placement.mode == "colocate":
        trainer += "; vLLM on the same"
    server = f"vLLM on GPU {', '.join(placement.serve)}" if placement.serve else ""
    if nodes == 1:
        return f"{trainer}; {server}" if server else trainer
    commands = [server or "vLLM"] * (nodes - placement.nodes) + [trainer] * placement.nodes
    return "\n".join(f"node{number}: {text}" for number, text in enumerate(commands, 1))


def _files(configs: Sequence[str]) -> Iterator[str]:
    for name in configs:
        if not Path(name).is_dir():
            yield name
        elif files := sorted(map(str, Path(name).rglob("*.y*ml"))):
            yield from files
        else:
            raise click.UsageError(f"{name}: no YAML file in this folder.")


def styled_level(finding: Finding) -> str:
    """Return a finding's level in its color, as wide as the names of facts."""
    return click.style(f"{finding.level:<9}", fg=COLORS[finding.level], bold=True)


def show(checked: Checked, machine: Machine) -> None:
    """Print the result for one config."""
    click.secho(checked.config, bold=True)
    placement = checked.placement
    if placement and machine.assumed and machine.gpus and not machine.image:
        placement += " (assumed: Ampere or newer)"
    placement = placement.replace("\n", f"\n{' ' * 12}")
    lines = {"placement": placement, "batch": checked.batch, "memory": checked.memory}
    for name, text in lines.items():
        if text:
            click.echo(f"  {name:<9} {text}")
    if checked.prompt:
        click.echo("  prompt    the first one, as the model sees it:")
        for line in _excerpt(checked.prompt).split("\n"):
            click.echo(f"    {click.style('|', dim=True)} {line}".rstrip())
    for finding in checked.findings:
        text = str(finding).replace("\n", "\n    ")
        click.echo(f"  {styled_level(finding)} {text}")
    color = "cyan" if checked.count("skipped") else "green"
    click.secho(f"  {checked.verdict}", fg=color if checked.ok else "red", bold=True)


def _excerpt(prompt: str) -> str:
    """Return a prompt without characters that a terminal would obey, and without the middle of a long one."""
    text = readable(prompt, len(prompt))
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[{len(text) - LONGEST:,} characters]\n{text[-half:]}"


def _plain(checked: Checked) -> dict[str, object]:
    return {
        **asdict(checked),
        "findings": [finding._asdict() for finding in checked.findings],
        "verdict": checked.verdict,
        "ok": checked.ok,
    }

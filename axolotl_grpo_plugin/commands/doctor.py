"""`axolotl-grpo doctor`."""

import platform
from collections.abc import Generator

import click

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks import machine
from axolotl_grpo_plugin.checks.memory import check_memory, memory_of
from axolotl_grpo_plugin.checks.repositories import check_hub, download, repositories
from axolotl_grpo_plugin.checks.table import Facts, findings
from axolotl_grpo_plugin.commands.check import styled_level
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.findings import Fact, Finding, FindingError, Lines, fault
from axolotl_grpo_plugin.report.console import print_json
from axolotl_grpo_plugin.serving.address import settle_address
from axolotl_grpo_plugin.serving.nodes import check_idle, serves_others, slurm
from axolotl_grpo_plugin.serving.placement import Words, mode_of, serving, visible_gpus
from axolotl_grpo_plugin.serving.plan import CommandLine, plan_of
from axolotl_grpo_plugin.training.record import versions


def run(config: str | None, *, prefetch: bool, as_json: bool) -> int:
    """Print facts and findings about this machine. Return the exit code: 1 if there is an error."""
    cfg = read_config(config) if config else Config({})
    paths.add_working_folder()
    paths.resolve_packaged(cfg)
    facts = list[Fact]()
    reported = list[Finding]()
    for line in _lines(cfg, prefetch):
        if isinstance(line, Finding):
            reported.append(line)
            text = f"{styled_level(line)} {line}"
        else:
            facts.append(line)
            text = f"{line.name:<9} {line.text}"
        if not as_json:
            click.echo(f"  {text}")
    errors = sum(finding.level == "error" for finding in reported)
    if as_json:
        lines = {
            "facts": [fact._asdict() for fact in facts],
            "findings": [finding._asdict() for finding in reported],
        }
        print_json(lines)
    elif errors:
        click.secho(f"  errors: {errors}", fg="red", bold=True)
    else:
        click.secho("  OK", fg="green", bold=True)
    return int(errors > 0)


def _lines(cfg: Config, prefetch: bool) -> Lines:
    """Yield the facts and findings of this machine. A reward that lacks its sandbox or server here is an error."""
    if prefetch:
        for repository in repositories(cfg):
            yield download(cfg, repository)
    listed = ", ".join(f"{name} {number}" for name, number in versions().items())
    yield Fact("packages", f"Python {platform.python_version()}, {listed}")
    yield from findings(Facts(cfg), "machine")
    settle_address(cfg)
    gpus = yield from _gpus(cfg)
    yield from machine.check_imports(cfg, gpus)
    yield from machine.check_shared_memory(gpus)
    yield from machine.check_disk(cfg)
    yield from machine.check_ports(cfg)
    yield from check_hub(cfg)


def _gpus(cfg: Config) -> Generator[Fact | Finding, None, int]:
    """Check the GPUs, and the config's plan for them. Return their number."""
    gpus: Words = ()
    try:
        gpus = visible_gpus()
        memory = yield from machine.check_gpus(gpus)
        if gpus and cfg:
            yield from _check_plan(cfg, gpus, memory)
        elif mode_of(cfg) != "none":
            yield fault(
                "no-gpu",
                "GPUs",
                "no GPU is visible, and this config uses vLLM",
                "Rent a GPU, or install its driver. Unset CUDA_VISIBLE_DEVICES if it is empty",
            )
    except FindingError as error:
        yield from error.findings
    return len(gpus)


def _check_plan(cfg: Config, gpus: Words, memory: float | None) -> Lines:
    """Check that the GPUs are enough, as `axolotl-grpo train` counts them, and large enough."""
    yield from check_idle(cfg, len(gpus))
    job = slurm()
    if serves_others(cfg) and not job:
        # The nodes that train are counted in the job only.
        needed = serving(cfg)
        yield Fact("plan", f"vLLM takes {needed} GPUs of the first node, and the other nodes train")
        if len(gpus) < needed:
            what = f"vLLM needs {needed} GPUs on the first node, and {len(gpus)} are visible"
            fix = "Lower vllm.tensor_parallel_size x data_parallel_size"
            yield fault("too-few-gpus", "vllm", what, fix)
        return
    call = CommandLine("", "accelerate", [], {}, [], None)
    needed_memory = memory_of(cfg, plan_of(call, cfg, gpus, job).placement, memory)
    if isinstance(needed_memory, Finding):  # check_disk yields it, too
        return
    yield Fact("memory", str(needed_memory))
    if memory:
        yield from check_memory(needed_memory, memory)

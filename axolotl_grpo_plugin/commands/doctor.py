"""`axolotl grpo doctor`."""

import json
import platform
from itertools import chain
from typing import Any

import click

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks import machine
from axolotl_grpo_plugin.checks.versions import check_versions, check_wandb, tested
from axolotl_grpo_plugin.commands.check import COLORS
from axolotl_grpo_plugin.config import read_config
from axolotl_grpo_plugin.findings import ConfigError, Finding
from axolotl_grpo_plugin.serving.placement import mode_of, place, visible_gpus
from axolotl_grpo_plugin.training.record import versions


def run(config: str | None, *, prefetch: bool, as_json: bool) -> int:
    """Print facts and findings about this machine. Return the exit code: 1 if there is an error."""
    cfg = read_config(config) if config else {}
    paths.resolve_packaged(cfg)
    facts, findings = list[machine.Fact](), list[Finding]()
    for each in chain(machine.prefetch(cfg) if prefetch else (), _lines(cfg)):
        if isinstance(each, Finding):
            findings.append(each)
            name, text = (
                click.style(f"{each.level:<9}", fg=COLORS[each.level], bold=True),
                str(each),
            )
        else:
            facts.append(each)
            name, text = f"{each.name:<9}", each.text
        if not as_json:
            click.echo(f"  {name} {text}")
    errors = sum(each.level == "error" for each in findings)
    if as_json:
        found = [each._asdict() for each in findings]
        click.echo(
            json.dumps({"facts": [each._asdict() for each in facts], "findings": found}, indent=2)
        )
    else:
        verdict = f"{errors} error{'s' * (errors > 1)}" if errors else "OK"
        click.secho(f"  {verdict}", fg="red" if errors else "green", bold=True)
    return int(errors > 0)


def _lines(cfg: Any) -> machine.Lines:
    packages = ", ".join(f"{name} {each}" for name, each in versions().items())
    yield machine.Fact("packages", f"Python {platform.python_version()}, {packages}")
    known = ", ".join(f"{name} {each}" for name, each in tested().items())
    yield machine.Fact("tested", f"with {known}")
    yield from check_versions(cfg)
    gpus = visible_gpus()
    yield from machine.check_gpus(gpus)
    if mode_of(cfg) != "none" and not gpus:
        what = "no GPU is visible, and this config uses vLLM"
        fix = "Rent a GPU, or install its driver. Unset CUDA_VISIBLE_DEVICES if it is empty"
        yield Finding("GPUs", what, fix, level="warning")
    elif cfg and gpus:
        try:
            place(cfg, gpus)
        except ConfigError as error:
            yield from error.findings
    yield from machine.check_imports(cfg, len(gpus))
    if len(gpus) > 1:
        yield from machine.check_collective(len(gpus))
    yield from machine.check_shared_memory(len(gpus))
    yield from machine.check_disk(cfg, max(1, len(gpus)))
    yield from machine.check_ports(cfg)
    yield from machine.check_hub(cfg)
    yield from check_wandb(cfg)

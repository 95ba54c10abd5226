"""`axolotl grpo train CONFIG`."""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.batch import check_batch
from axolotl_grpo_plugin.checks.config import check_keys, check_plugin
from axolotl_grpo_plugin.config import PLUGIN, block, is_grpo, is_named, read_config
from axolotl_grpo_plugin.findings import Finding, at, stop_on
from axolotl_grpo_plugin.inputs import check_model
from axolotl_grpo_plugin.serving.address import (
    ALL_NETWORKS,
    check_address,
    check_free,
    check_here,
    reserve,
    settle_address,
)
from axolotl_grpo_plugin.serving.nodes import slurm
from axolotl_grpo_plugin.serving.placement import mode_of, visible_gpus
from axolotl_grpo_plugin.serving.plan import AXOLOTL, Call, Plan, environment, plan_of
from axolotl_grpo_plugin.serving.processes import guarded
from axolotl_grpo_plugin.serving.request import CANARY

_PROCESSES = ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node")


def parse(config: str, typed: Sequence[str], after: Sequence[str]) -> tuple[Call, Any]:
    """Return the command line as Axolotl's parser reads it, and the raw config with its overrides."""
    from axolotl.cli.main import train

    context = train.make_context("train", [config, *typed])
    skipped = ("config", "launcher", "cloud", "sweep")
    given = {k: v for k, v in context.params.items() if v is not None and k not in skipped}
    cfg = read_config(config, given)
    launcher = context.params["launcher"]
    # Axolotl passes unknown options, such as --num-processes, to the launcher.
    processes = 1 if launcher == "python" else processes_of([*context.args, *after])
    return Call(config, launcher, list(typed), given, list(after), processes), cfg


def processes_of(words: Sequence[str]) -> int | None:
    """Return the number of processes in the launcher's options, None if unset.

    Raises: ConfigError if it is not a positive integer, "gpu" or "auto".
    """
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name in _PROCESSES:
            value = value or following
            if value in ("gpu", "auto"):  # torchrun's words for all visible GPUs
                return None
            if not value.isdigit() or not int(value):
                what = f"{value!r} is not a number of processes"
                stop_on([Finding(name, what, "Write 1 or more")])
            return int(value)
    return None


def run(
    config: str,
    typed: Sequence[str],
    after: Sequence[str],
    *,
    dry_run: bool,
    gpus: int | None,
    canary: bool,
) -> int:
    """Print the plan, run it, and return the exit code.

    gpus: number of GPUs to plan for, by default the visible ones. canary: check the weight sync first.
    """
    if gpus is not None and not dry_run:
        stop_on([Finding("--gpus", "plans for another machine", "Add --dry-run")])
    if "--cloud" in [word.partition("=")[0] for word in typed]:
        if canary:
            stop_on([Finding("--canary", "not possible with --cloud", "Remove it")])
        words = [*typed, "--dry-run"] if dry_run else [*typed]
        if after:
            words += ["--", *after]
        os.execve(sys.executable, [*AXOLOTL, "train", config, *words], environment(()))
    stop_on(check_typed([*typed, *after]))  # before Axolotl is imported
    call, cfg = parse(config, typed, after)
    paths.add_working_folder()
    paths.resolve_packaged(cfg)
    stop_on([*check_rl(cfg), *check_plugin(cfg), *check_keys(cfg), *check_address(cfg)])
    stop_on([*check_words(call, cfg, canary), *check_gpus(cfg, gpus)])
    settle_address(cfg)
    ids = visible_gpus() if gpus is None else [str(number) for number in range(gpus)]
    plan = plan_of(call, cfg, ids)
    stop_on(check_batch(cfg, plan.ranks))
    Console(stderr=True).print(table(plan))
    if dry_run:
        for part in plan.parts():
            print(part.command())
        return 0
    if plan.mode != "server":
        return guarded(lambda: plan.supervise({}))
    stop_on([*_check_vllm(cfg, ids), *check_model(cfg)])
    more = {CANARY: "1"} if canary else {}
    if not plan.serves_here:
        return guarded(lambda: plan.supervise(more))
    host, port = cfg["vllm"]["host"], cfg["vllm"]["port"]
    stop_on([*check_here(cfg), *check_free(host, port)])
    with reserve(port):
        return guarded(lambda: plan.supervise(more))


def table(plan: Plan) -> Table:
    """Return a table of the plan's processes and their GPUs."""
    shown = Table(box=None, header_style="dim")
    for column in ("", "", "GPUs", "processes", ""):
        shown.add_column(column, overflow="fold")
    for part in plan.parts():
        note = ""
        if part.role == "vLLM":
            vllm = plan.cfg["vllm"]
            note = f"{plan.cfg.get('base_model')} on {vllm['host']}:{vllm['port']}"
        elif plan.mode == "colocate":
            note = "vLLM in the same processes"
        ids = ", ".join(part.gpus) or ("Ray's" if plan.cfg.get("use_ray") else "CPU")
        shown.add_row(part.node, part.role, ids, str(part.processes), note)
    return shown


def check_rl(cfg: Any) -> Iterator[Finding]:
    """Check that the config is for GRPO and names the plugin."""
    if not is_grpo(cfg):
        where, similar = at(cfg, f"rl ({cfg.get('rl')})"), is_named(cfg) or cfg.get("trl")
        fix = "Set rl: grpo, or gdpo" if similar else "Use `axolotl train` for it"
        yield Finding(where, "not grpo or gdpo", fix)
    elif not is_named(cfg) and not isinstance(cfg.get("plugins"), str):  # see check_plugin
        yield Finding(at(cfg, "plugins"), "the GRPO plugin is not listed", f"Add {PLUGIN}")


def check_typed(words: Sequence[str]) -> Iterator[Finding]:
    """Check that no option is a key of this plugin, which the launcher would get."""
    for name in (word.partition("=")[0] for word in words):
        if name.startswith(("--grpo-", "--grpo_")):
            key = name.removeprefix("--").replace("-", "_")
            yield Finding(name, "no option of `axolotl train`", f"Set {key} in the config")


def check_words(call: Call, cfg: Any, canary: bool = False) -> Iterator[Finding]:
    """Check that the options of the command line can work."""
    yield from check_typed([*call.typed, *call.after])
    words = [each.partition("=")[0] for each in (*call.typed, *call.after)]
    if mode_of(cfg) != "server":
        if canary:
            yield Finding("--canary", "this config has no vLLM server", "Remove it")
        return
    if "--sweep" in words:
        fix = "Remove it, or use `axolotl train` with a config in colocate mode"
        yield Finding("--sweep", "one server can serve only one training run", fix)
    torchrun = call.launcher == "torchrun" or slurm()
    if torchrun and ("--num-processes" in words or "--num_processes" in words):
        yield Finding("--num-processes", "torchrun has no such option", "Write --nproc-per-node")
    if "--gpu_ids" in words or "--gpu-ids" in words:
        what = "the trainer gets the GPUs that do not serve"
        yield Finding("--gpu_ids", what, "Remove it, and set CUDA_VISIBLE_DEVICES")
    if block(cfg, "vllm").get("serve_module"):
        where = at(cfg, "vllm.serve_module")
        yield Finding(where, "this command starts vLLM's own server only", "Remove it")
    sharded = [key for key in ("deepspeed", "fsdp", "fsdp_config", "use_ray") if cfg.get(key)]
    if canary and sharded:
        what = f"not possible with {sharded[0]}, because the weights are sharded or remote"
        yield Finding("--canary", what, "Try it on the same config without that key")


def check_gpus(cfg: Any, gpus: int | None) -> Iterator[Finding]:
    """Check that --gpus does not plan one machine for a config of several nodes."""
    listens = block(cfg, "vllm").get("host") in ALL_NETWORKS
    if gpus and listens and mode_of(cfg) == "server" and not slurm() and not cfg.get("use_ray"):
        what = "plans one machine, but vllm.host is open to other nodes"
        fix = "Use --dry-run within the Slurm job, or set vllm.host to 127.0.0.1 for one machine"
        yield Finding("--gpus", what, fix)


def _check_vllm(cfg: Any, gpus: Sequence[str]) -> Iterator[Finding]:
    """Check that vLLM is installed and can serve on this machine."""
    where = at(cfg, "trl.use_vllm")
    try:
        installed = version("vllm")
    except PackageNotFoundError:
        yield Finding(where, "vLLM is not installed", 'pip install "axolotl-grpo-plugin[vllm]"')
        return
    if not gpus and "cpu" not in installed:  # vLLM tells its builds apart in the same way
        what = f"no GPU is visible, and vLLM {installed} serves on GPUs"
        fix = "Set CUDA_VISIBLE_DEVICES, or plan for another machine with --dry-run --gpus N"
        yield Finding(where, what, fix)

"""`axolotl-grpo train CONFIG`."""

import os
import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any, NoReturn, TextIO

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.reuse import check_unused
from axolotl_grpo_plugin.checks.table import Facts, errors
from axolotl_grpo_plugin.checks.versions import install
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.data.inputs import check_model
from axolotl_grpo_plugin.findings import Findings, exit_on_findings, fault, stop, stop_on
from axolotl_grpo_plugin.processes import guarded
from axolotl_grpo_plugin.report.console import print_json
from axolotl_grpo_plugin.serving.address import (
    check_free,
    check_here,
    reserve,
    server_address,
    settle_address,
)
from axolotl_grpo_plugin.serving.nodes import (
    Slurm,
    check_first_node,
    check_idle,
    is_restarted,
    planned,
    slurm,
)
from axolotl_grpo_plugin.serving.placement import Words, mode_of, visible_gpus
from axolotl_grpo_plugin.serving.plan import AXOLOTL, CommandLine, Part, environment, plan_of
from axolotl_grpo_plugin.serving.request import ADDED, COMMAND
from axolotl_grpo_plugin.training.resume import nothing_to_do

_RESUME = "--auto-resume-from-checkpoints"
_PROCESSES = ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node")
# Options that cannot work beside a server, with the fault and the fix.
_REFUSED = {
    "--sweep": (
        "one server can serve only one training run",
        "Remove it, or use `axolotl train` with a config in colocate mode",
    ),
    "--gpu_ids": (
        "the trainer gets the GPUs that do not serve",
        "Remove it, and set CUDA_VISIBLE_DEVICES",
    ),
}


def parse(
    config: str, typed: Words, after: Words, job: Slurm | None = None
) -> tuple[CommandLine, Config]:
    """Return the command line as Axolotl's parser reads it, and the raw config with its overrides.

    job: the job of several nodes in which the config trains, through torchrun. None for one machine.
    """
    launcher = "accelerate"  # Axolotl's default
    overrides: dict[str, Any] = {}
    passed_on: list[str] = []
    if typed:  # else Axolotl's parser is not worth its import
        from axolotl.cli.main import train

        context = train.make_context("train", [config, *typed])
        for key, value in context.params.items():
            if value is not None and key not in ("config", "cloud", "sweep", "launcher"):
                overrides[key] = value
        launcher = context.params["launcher"]
        passed_on = context.args
        known = {name for parameter in train.params for name in parameter.opts}
        stop_on(_check_passed_on(passed_on, "torchrun" if job else launcher, known))
    cfg = read_config(config, overrides)
    processes: int | None = 1
    if launcher != "python":
        # Axolotl passes unknown options, such as --num-processes, to the launcher.
        processes = processes_of([*passed_on, *after])
    call = CommandLine(config, launcher, list(typed), overrides, list(after), processes)
    return call, cfg


def processes_of(words: Words) -> int | None:
    """Return the number of processes in the launcher's options, None if unset.

    Raises: FindingError if it is not a positive integer, "gpu" or "auto".
    """
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name not in _PROCESSES:
            continue
        value = value or following
        if value in ("gpu", "auto"):  # torchrun's words for all visible GPUs
            return None
        if value.isdigit() and int(value):
            return int(value)
        what = f"{value!r} is not a number of processes"
        stop("wrong-number", name, what, "Write 1 or more")
    return None


def run(
    config: str,
    typed: Words,
    after: Words,
    *,
    dry_run: bool,
    gpus: int | None,
    nodes: int | None = None,
    as_json: bool = False,
) -> int:
    """Print the plan, run it, and return the exit code.

    gpus: number of GPUs to plan for, by default the visible ones. nodes: number of nodes that have them,
    by default those of this Slurm job.
    """
    if not dry_run and (as_json or gpus is not None or nodes is not None):
        stop(
            "options",
            "--json, --gpus, --nodes",
            "these options work only with --dry-run",
            "Add --dry-run. A training takes the GPUs in CUDA_VISIBLE_DEVICES, by default all",
        )
    if "--cloud" in _names(typed):
        _become_axolotl(config, typed, after, dry_run)
    stop_on(_check_typed([*typed, *after]))  # before Axolotl is imported
    command = ["axolotl-grpo", "train", config, *typed, *(["--", *after] if after else [])]
    added = []
    if is_restarted() and _RESUME not in typed:
        # Else it would begin again at step 1, over its own checkpoints.
        typed = [_RESUME, *typed]
        added.append("auto_resume_from_checkpoints")
    job = slurm() if nodes is None else planned(nodes)
    call, cfg = parse(config, typed, after, job)
    paths.add_working_folder()
    paths.resolve_packaged(cfg)
    facts = Facts(cfg)
    stop_on([*errors(facts, "yaml"), *check_words(call, cfg, job)], cfg.file)
    if not dry_run:  # which may plan for a machine with other files
        if done := nothing_to_do(cfg):
            print(f"axolotl-grpo-plugin: {done}")
            return 0
        stop_on([*errors(facts, "import", "disk"), *check_unused(cfg, only_here=True)], cfg.file)
    if cfg.use_ray:
        return _start_workers(call, dry_run, as_json)
    settle_address(cfg)
    ids = visible_gpus() if gpus is None else list(map(str, range(gpus)))
    stop_on(check_processes(call, ids, job))
    plan = plan_of(call, cfg, ids, job)
    facts.ranks = plan.placement.processes
    stop_on(errors(facts, "ranks"), cfg.file)
    if plan.prints:
        if job:
            for finding in check_idle(cfg, len(ids)):
                print(finding, file=sys.stderr)
        _show(plan.parts(), as_json, file=sys.stdout if dry_run else sys.stderr)
    if dry_run:
        return 0
    if plan.mode == "server":
        stop_on([*_check_vllm(cfg, ids), *check_model(cfg)])
    if plan.first_node:
        added.append("trl.vllm_server_host")
    os.environ |= {COMMAND: shlex.join(command), ADDED: " ".join(added)}
    supervise = exit_on_findings()(plan.supervise)  # it runs in a child process
    if not plan.serves_here:
        return guarded(supervise)
    host, port = server_address(cfg)
    # The first node of a job has other addresses than this host's own name, such as that of vllm.host.
    check_place = check_first_node if job else check_here
    stop_on([*check_place(cfg), *check_free(host, port)])
    with reserve(port):
        return guarded(supervise)


def _show(parts: Sequence[Part], as_json: bool, file: TextIO) -> None:
    """Print the commands of a plan."""
    if as_json:
        print_json([{**part._asdict(), "command": part.command()} for part in parts])
        return
    for part in parts:
        print(part.command(), file=file)


def _names(words: Words) -> list[str]:
    """Return the options among words, without their values."""
    return [word.partition("=")[0] for word in words]


def _become_axolotl(config: str, typed: Words, after: Words, dry_run: bool) -> NoReturn:
    """Continue as `axolotl train`, whose launcher trains in the cloud."""
    command = [*AXOLOTL, "train", config, *typed]
    if dry_run:
        command.append("--dry-run")
    if after:
        command += ["--", *after]
    os.execve(sys.executable, command, environment(()))


def _start_workers(call: CommandLine, dry_run: bool, as_json: bool) -> int:
    """Continue as `axolotl train --use-ray`, whose workers train on Ray's nodes. Return 0 after a dry run."""
    # Without this option, Axolotl starts one driver for each GPU of this machine.
    added = [] if "--use-ray" in call.typed else ["--use-ray"]
    part = Part("", (), call.train(added))
    if as_json:
        print_json([{**part._asdict(), "command": part.command()}])
    else:
        print(part.command(), file=sys.stdout if dry_run else sys.stderr)
    if dry_run:
        return 0
    os.execve(sys.executable, [*AXOLOTL, *part.words], environment(()))


def _check_typed(words: Words) -> Findings:
    """Check that no option is a key of this plugin, which the launcher would get."""
    for name in _names(words):
        key = name.removeprefix("--").replace("-", "_")
        if name != key and key.startswith("grpo_"):
            fix = f"Set {key} in the config"
            yield fault("options", name, "no option of `axolotl train`", fix)


def _check_passed_on(words: Words, launcher: str, known: set[str]) -> Findings:
    """Check the words that Axolotl does not know, and that it would pass on to the launcher.

    Args:
        words: The words.
        launcher: "accelerate", "torchrun" or "python".
        known: The options of `axolotl train`, for words that are misspelt.
    """
    names = {name for name in _names(words) if name.startswith("--")}
    if not names:
        return
    of_launcher = _options_of(launcher)
    for name in sorted(names - of_launcher):
        close = get_close_matches(name, known | of_launcher, n=1)
        fix = f"Did you mean {close[0]}?" if close else "See axolotl train --help"
        where = "no option of `axolotl train`, nor of its launcher"
        yield fault("options", name, where, fix)


def _options_of(launcher: str) -> set[str]:
    """Return the options of a launcher of Axolotl, which imports it."""
    if launcher == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        parser = launch_command_parser()
    elif launcher == "torchrun":
        from torch.distributed.run import get_args_parser

        parser = get_args_parser()
    else:  # Python takes no options
        return set()
    return {name for action in parser._actions for name in action.option_strings}


def check_words(call: CommandLine, cfg: Config, job: Slurm | None) -> Findings:
    """Check that the options of the command line can work.

    job: the job of several nodes in which the config trains, None for one machine.
    """
    words = [*call.typed, *call.after]
    if cfg.use_ray and mode_of(cfg) == "server":
        what = "Ray's workers train, and nothing starts vLLM's server for them"
        fix = "Set trl.vllm_mode: colocate. Or start `axolotl vllm-serve CONFIG`, then `axolotl train CONFIG --use-ray`"
        yield fault("ray", cfg.at("use_ray"), what, fix)
    if mode_of(cfg) != "server":
        return
    options = {name.replace("-ids", "_ids") for name in _names(words)}
    for name, (what, fix) in _REFUSED.items():
        if name in options:
            yield fault("options", name, what, fix)
    torchrun = call.launcher == "torchrun" or job
    if torchrun and not options.isdisjoint(("--num-processes", "--num_processes")):
        what = "torchrun has no such option"
        yield fault("options", "--num-processes", what, "Write --nproc-per-node")
    if cfg.vllm.serve_module:
        what = "this command starts vLLM's own server only"
        yield fault("serve-module", cfg.at("vllm.serve_module"), what, "Remove it")


def check_processes(call: CommandLine, gpus: Words, job: Slurm | None) -> Findings:
    """Check that the launcher starts as many processes as asked for. Without GPUs, accelerate's starts one."""
    processes = call.processes or 1
    if call.launcher == "accelerate" and not gpus and processes > 1 and not job:
        yield fault(
            "one-process-on-cpu",
            f"--num-processes {processes}",
            "without GPUs, accelerate's launcher trains in one process",
            f"Write --launcher torchrun -- --nproc-per-node {processes}",
        )


def _check_vllm(cfg: Config, gpus: Words) -> Findings:
    """Check that vLLM is installed and can serve on this machine."""
    where = cfg.at("trl.use_vllm")
    try:
        installed = version("vllm")
    except PackageNotFoundError:
        yield fault("no-vllm", where, "vLLM is not installed", install("vllm"))
        return
    if not gpus and "cpu" not in installed:  # vLLM tells its builds apart in the same way
        what = f"no GPU is visible, and vLLM {installed} serves on GPUs"
        fix = "Set CUDA_VISIBLE_DEVICES, or plan for another machine with --dry-run --gpus N"
        yield fault("no-gpu", where, what, fix)

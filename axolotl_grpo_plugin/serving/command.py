"""`axolotl grpo train CONFIG`."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from axolotl.utils.dict import DictDefault
from rich.console import Console
from rich.table import Table

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.checks.config import check_keys, check_model, check_plugin
from axolotl_grpo_plugin.serving.address import check_address, check_free, settle_address
from axolotl_grpo_plugin.serving.placement import Placement, place, visible_gpus
from axolotl_grpo_plugin.serving.request import CANARY, Request
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.supervisor import supervise
from axolotl_grpo_plugin.serving.tree import guarded

AXOLOTL = [sys.executable, "-m", "axolotl.cli.main"]
_PROCESSES = ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node")
# What tells a process that it is a rank of a training.
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("TORCHELASTIC_", "ACCELERATE_")


class Call(NamedTuple):
    """What the user typed.

    typed: the words after CONFIG, up to --. overrides: of these, the config's keys, as Axolotl's
    parser reads them. rest: what it does not know and hands to the launcher. after: what followed --.
    """

    config: str
    launcher: str
    typed: list[str]
    overrides: dict[str, Any]
    rest: list[str]
    after: list[str]

    @property
    def processes(self) -> int | None:
        """--num-processes (torchrun's --nproc-per-node), where it is given."""
        if self.launcher == "python":
            return 1
        words = [*self.rest, *self.after]
        for number, each in enumerate(words):
            name, _, value = each.partition("=")
            if name in _PROCESSES:
                value = value or next(iter(words[number + 1 :]), "")
                if not value.isdigit() or not int(value):
                    what = f"{name}: {value!r} is no number of processes"
                    raise ConfigError(f"axolotl-grpo-plugin: {what}")
                return int(value)
        return None


def read(config: str, typed: Sequence[str], after: Sequence[str]) -> tuple[Call, Any]:
    """The call, and the raw config with its overrides. Axolotl's own parser reads the options."""
    from axolotl.cli.main import train

    try:
        raw = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{config}: no Axolotl config: a YAML of keys and values is wanted")
    context = train.make_context("train", [config, *typed])
    skipped = ("config", "launcher", "cloud", "sweep")
    given = {k: v for k, v in context.params.items() if v is not None and k not in skipped}
    cfg = DictDefault({**raw, "axolotl_config_path": config})
    for key, value in given.items():
        parent, _, child = key.partition("__")
        if child and not isinstance(cfg.get(parent), dict):
            cfg[parent] = {}
        holder = cfg[parent] if child else cfg
        holder[child or parent] = yaml.safe_load(value) if isinstance(value, str) else value
    launcher = context.params["launcher"]
    return Call(config, launcher, list(typed), given, list(context.args), list(after)), cfg


def run(
    config: str,
    typed: Sequence[str],
    after: Sequence[str],
    *,
    dry_run: bool,
    gpus: int | None,
    canary: bool,
) -> int:
    """Plan, show the plan, and do it. The exit code."""
    if gpus is not None and not dry_run:
        raise ConfigError(
            "axolotl-grpo-plugin: --gpus plans for a machine that is not here. Add --dry-run"
        )
    call, cfg = read(config, typed, after)
    paths.add_working_folder()
    paths.resolve_packaged(cfg)
    stop_on([*check_plugin(cfg), *check_keys(cfg), *check_address(cfg), *_check_named(cfg)])
    settle_address(cfg)
    there = [str(number) for number in range(gpus)] if gpus is not None else visible_gpus()
    placement = place(cfg, there, call.processes)
    Console(stderr=True).print(table(placement, cfg))
    train = train_command(call, placement)
    if dry_run:
        for line in shown(call, placement, train):
            print(line)
        return 0
    if placement.mode != "server":
        if canary:
            raise ConfigError(
                "axolotl-grpo-plugin: --canary asks vLLM's server; this config has none"
            )
        sys.stdout.flush()
        os.execv(sys.executable, [*AXOLOTL, "train", config, *typed, *_after(after)])
    stop_on(
        [
            *_check_vllm(there),
            *check_model(cfg),
            *check_free(cfg["vllm"]["host"], cfg["vllm"]["port"]),
        ]
    )
    asked = {CANARY: "1"} if canary else {}
    train_env = {**environment(placement.train), **asked}

    def serve(asked: Request) -> Server:
        env = {**_no_rank(environment(placement.serve)), **asked.env}
        log = Path(asked.output_dir, "vllm-server.log")
        return Server(asked.command, env, asked.host, asked.port, log)

    return guarded(lambda: supervise(train, train_env, serve))


def train_command(call: Call, placement: Placement) -> list[str]:
    """`axolotl train` with the number of processes that the placement has."""
    words = ["train", call.config, *call.typed]
    if placement.mode == "server" and not call.processes:
        option = "--nproc-per-node" if call.launcher == "torchrun" else "--num-processes"
        words += [option, str(placement.processes)]
    return [*AXOLOTL, *words, *_after(call.after)]


def _after(launcher: Sequence[str]) -> list[str]:
    return ["--", *launcher] if launcher else []


def environment(gpus: Sequence[str]) -> dict[str, str]:
    """This process' environment, with these GPUs visible; on a CPU, as it is."""
    found = dict(os.environ)
    # `axolotl train` looks for `accelerate` there, and a venv need not be activated.
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', '')}"
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        found.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts
    return found


def _no_rank(env: Mapping[str, str]) -> dict[str, str]:
    """vLLM would take a rank's variables for its own."""
    return {k: v for k, v in env.items() if k not in _RANKS and not k.startswith(_LAUNCHERS)}


def table(placement: Placement, cfg: Any) -> Table:
    """Who has which GPUs."""
    made = Table(box=None, header_style="dim")
    for column in ("", "GPUs", "processes", ""):
        made.add_column(column)
    if placement.mode == "server":
        vllm = cfg["vllm"]
        made.add_row(
            "vLLM",
            _ids(placement.serve),
            "1",
            f"{cfg.get('base_model')} on {vllm['host']}:{vllm['port']}",
        )
    note = "vLLM in the same processes" if placement.mode == "colocate" else ""
    made.add_row("trainer", _ids(placement.train), str(placement.processes), note)
    return made


def _ids(gpus: Sequence[str]) -> str:
    return ", ".join(gpus) or "CPU"


def shown(call: Call, placement: Placement, train: Sequence[str]) -> list[str]:
    """The commands that would do the same by hand."""

    def visible(gpus: Sequence[str]) -> str:
        return f"CUDA_VISIBLE_DEVICES={','.join(gpus)} " if gpus else ""

    words = ["axolotl", *train[len(AXOLOTL) :]]
    lines = [visible(placement.train) + shlex.join(words)]
    if placement.mode == "server":
        lines.insert(
            0, visible(placement.serve) + shlex.join(["axolotl", "vllm-serve", call.config])
        )
    return lines


def _check_named(cfg: Any) -> list[Finding]:
    if cfg.get("rl") not in ("grpo", "gdpo"):
        where = f"{cfg['axolotl_config_path']}: rl ({cfg.get('rl')})"
        return [Finding(where, "not grpo or gdpo", "Use `axolotl train` for it")]
    return []


def _check_vllm(gpus: Sequence[str]) -> list[Finding]:
    if not find_spec("vllm"):
        what = "this config generates with vLLM, which is not installed"
        return [Finding("vllm", what, 'pip install "axolotl-grpo-plugin[vllm]"')]
    return []

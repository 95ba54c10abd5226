"""Plan the processes of a run: on this machine, on Slurm's nodes, or through Ray."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import ConfigError, Finding, at, stop_on
from axolotl_grpo_plugin.serving.nodes import Slurm, slurm
from axolotl_grpo_plugin.serving.placement import Placement, mode_of, place, serving
from axolotl_grpo_plugin.serving.processes import spawn
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.supervisor import Supervisor

AXOLOTL = [sys.executable, "-m", "axolotl.cli.main"]
_LOCAL = ("127.0.0.1", "localhost")
# A cluster may set these variables for training ranks. vLLM would take them for its own.
_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("TORCHELASTIC_", "ACCELERATE_")


class Call(NamedTuple):
    """The command line.

    launcher: --launcher. typed: the words between CONFIG and --. overrides: the config's keys among
    them, as Axolotl's parser reads them. after: the words behind --, for the launcher. processes:
    --num-processes or torchrun's --nproc-per-node, None if unset.
    """

    config: str
    launcher: str
    typed: list[str]
    overrides: dict[str, Any]
    after: list[str]
    processes: int | None

    def train(self, *words: str, launcher: Sequence[str] = ()) -> list[str]:
        """Return the words of `axolotl train` on the config, with more words."""
        last = [*self.after, *launcher]
        return ["train", self.config, *self.typed, *words, *(["--", *last] if last else [])]


class Part(NamedTuple):
    """One command of a plan.

    node: its Slurm node, "" for this machine. role: "vLLM" or "trainer". gpus: ids. words: those after
    `axolotl`.
    """

    node: str
    role: str
    gpus: Sequence[str]
    processes: int
    words: list[str]

    def command(self) -> str:
        """Return the command as a user would type it."""
        visible = f"CUDA_VISIBLE_DEVICES={','.join(self.gpus)} " if self.gpus else ""
        line = visible + shlex.join(["axolotl", *self.words])
        return f"{self.node}: {line}" if self.node else line


class Plan:
    """One machine: the last GPUs serve, the others train."""

    def __init__(self, call: Call, cfg: Any, gpus: Sequence[str]):
        self.call, self.cfg, self.mode = call, cfg, mode_of(cfg)
        self.placement = self.place(gpus)
        self.output_dir = str(cfg.get("output_dir") or "model-out")  # Axolotl's default

    def place(self, gpus: Sequence[str]) -> Placement:
        """Place server and trainer on this machine's GPUs."""
        return place(self.cfg, gpus, self.call.processes)

    @property
    def ranks(self) -> int:
        """The number of the trainer's processes on all machines."""
        return self.placement.processes

    @property
    def serves_here(self) -> bool:
        """Whether this machine starts vLLM's server."""
        return self.mode == "server"

    def parts(self) -> list[Part]:
        """Return all commands, the server first."""
        _, _, train, processes = self.placement
        words = self.call.train(*self.added_words())
        return [*self.server_part(), Part("", "trainer", train, processes, words)]

    def added_words(self) -> list[str]:
        """Return the options of `axolotl train` that the user need not type."""
        if self.call.processes:
            return []
        if self.mode != "server":
            return ["--launcher", "python"] if self._needs_no_launcher() else []
        option = "--nproc-per-node" if self.call.launcher == "torchrun" else "--num-processes"
        return [option, str(self.placement.processes)]

    def _needs_no_launcher(self) -> bool:
        """Return whether one process trains and no option is for a launcher.

        `accelerate launch` would only import Axolotl again, which is slow.
        """
        typed = any(word.startswith(("--launcher", "--sweep")) for word in self.call.typed)
        sharded = any(self.cfg.get(key) for key in ("deepspeed", "fsdp", "fsdp_config"))
        return self.placement.processes == 1 and not (typed or sharded or self.call.after)

    def server_part(self, node: str = "") -> list[Part]:
        """Return the server's command, none if the config needs no server."""
        words = ["vllm-serve", self.call.config]
        # `axolotl vllm-serve` knows only the vLLM options of `axolotl train`.
        for key, value in self.call.overrides.items():
            if key.startswith("vllm__"):
                words.append(f"--{key.removeprefix('vllm__').replace('_', '-')}={value}")
        part = Part(node, "vLLM", self.placement.serve, 1, words)
        return [part] if self.mode == "server" else []

    def mine(self) -> Part:
        """Return the trainer's command on this machine."""
        return self.parts()[-1]

    def supervise(self, more: Mapping[str, str]) -> int:
        """Run the plan to its end and return the exit code. more: added to the trainer's environment."""
        train, env = self.train_command(more)
        return Supervisor(self.serve, self.output_dir).run(
            lambda each: each.on_one_machine(train, env)
        )

    def train_command(self, more: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the trainer's command and environment on this machine."""
        part = self.mine()
        return [*AXOLOTL, *part.words], {**environment(part.gpus), **more}

    def serve(self, request: Request) -> Server:
        """Start the requested server."""
        env = {
            name: value
            for name, value in environment(self.placement.serve).items()
            if name not in _RANK and not name.startswith(_LAUNCHERS)
        }
        return Server(request, env)

    def request(self) -> Request:
        """Return Axolotl's command for the server, made in another process, if no trainer here makes it."""
        with TemporaryDirectory() as folder:
            out, log = Path(folder, "server.json"), Path(folder, "log")
            module = "axolotl_grpo_plugin.serving.request"
            words = [self.call.config, str(out), json.dumps(self.call.overrides), str(self.ranks)]
            with log.open("wb") as file:
                env = environment(self.placement.serve)
                code = spawn([sys.executable, "-m", module, *words], env, file).wait()
            if code:
                raise ConfigError(log.read_text(errors="replace").rstrip())
            return Request.read(out)


class RayPlan(Plan):
    """The server on this machine, the trainer on the workers of a running Ray cluster."""

    def place(self, gpus: Sequence[str]) -> Placement:
        found = place(self.cfg, gpus)
        workers = tokens_of(self.cfg.get("ray_num_workers")) or 1
        local = self.mode == "server" and self.cfg["trl"]["vllm_server_host"] in _LOCAL
        if local and workers > len(found.train):
            stop_on([_unreachable(self.cfg)])
        return found._replace(processes=workers)

    def added_words(self) -> list[str]:
        # Axolotl's launcher does not read the YAML's use_ray.
        return [] if "--use-ray" in self.call.typed else ["--use-ray"]

    def supervise(self, more: Mapping[str, str]) -> int:
        if self.mode != "server":
            return super().supervise(more)
        train, env = self.train_command(more)
        request = self.request()
        return Supervisor(self.serve, self.output_dir).run(
            lambda each: each.by_ray(request, train, env)
        )


class SlurmPlan(Plan):
    """The first node serves, and the others train on all their GPUs. Without a server all nodes train."""

    def __init__(self, call: Call, cfg: Any, gpus: Sequence[str], job: Slurm):
        self.job = job
        super().__init__(call, cfg, gpus)
        self.trainers = job.nodes[1:] if self.mode == "server" else job.nodes
        self.host = block(cfg, "trl").get("vllm_server_host")
        if self.host in _LOCAL:  # the server listens on all networks of the first node
            self.host = job.nodes[0]

    def place(self, gpus: Sequence[str]) -> Placement:
        cfg, serve = self.cfg, serving(self.cfg) if self.mode == "server" else 0
        if len(gpus) < max(serve, 1):
            what = f"{len(gpus)} GPUs are visible on this node, and vLLM needs {max(serve, 1)}"
            fix = "Lower vllm.tensor_parallel_size x data_parallel_size, or request more from Slurm"
            stop_on([Finding(at(cfg, "vllm"), what, fix)])
        if serve and cfg["vllm"]["host"] in _LOCAL:
            stop_on([_unreachable(cfg)])
        folder = os.environ.get("TMPDIR", "/tmp")
        if block(cfg, "trl").get("vllm_lora_sync") and folder.startswith(("/tmp", "/var/tmp")):
            what = f"TMPDIR ({folder}) gets the adapters, and the first node cannot read it"
            fix = "Set TMPDIR to a folder that all nodes share"
            stop_on([Finding(at(cfg, "trl.vllm_lora_sync"), what, fix)])
        ranks = self.call.processes or len(gpus)
        return Placement(self.mode, tuple(gpus[len(gpus) - serve :]), tuple(gpus[:ranks]), ranks)

    @property
    def ranks(self) -> int:
        return self.placement.processes * len(self.trainers)

    @property
    def serves_here(self) -> bool:
        return self.mode == "server" and self.job.this == 0

    def parts(self) -> list[Part]:
        _, _, gpus, ranks = self.placement
        parts = self.server_part(self.job.nodes[0])
        for number, node in enumerate(self.trainers):
            torchrun = self.job.torchrun(self.trainers, number, ranks)
            words = self.call.train(*self.added_words(), launcher=torchrun)
            parts.append(Part(node, "trainer", gpus, ranks, words))
        return parts

    def added_words(self) -> list[str]:
        words = [] if self.call.launcher == "torchrun" else ["--launcher", "torchrun"]
        host = [f"--trl.vllm-server-host={self.host}"] if self.mode == "server" else []
        return [*words, *host]

    def mine(self) -> Part:
        return self.parts()[self.job.this]

    def supervise(self, more: Mapping[str, str]) -> int:
        if self.mode != "server":
            return super().supervise(more)
        names = [f"job-{self.job.job}-{node}.exit-code" for node in self.trainers]
        codes = [Path(self.output_dir, name) for name in names]
        if self.serves_here:
            request = self.request()
            return Supervisor(self.serve, self.output_dir).run(
                lambda each: each.on_the_first_node(request, codes)
            )
        train, env = self.train_command(more)
        address = (self.host, self.cfg["vllm"]["port"])
        code = codes[self.job.this - 1]
        return Supervisor(self.serve, self.output_dir).run(
            lambda each: each.on_a_training_node(train, env, *address, code)
        )


def _unreachable(cfg: Any) -> Finding:
    where = at(cfg, f"vllm.host ({cfg['vllm']['host']})")
    fix = "Set it to the private address of the serving node, because the server has no login"
    return Finding(where, "the other nodes cannot reach the server", fix)


def plan_of(call: Call, cfg: Any, gpus: Sequence[str]) -> Plan:
    """Return the plan for a Slurm job of several nodes, a Ray cluster, or one machine."""
    if job := slurm():
        return SlurmPlan(call, cfg, gpus, job)
    return (RayPlan if cfg.get("use_ray") else Plan)(call, cfg, gpus)


def environment(gpus: Sequence[str]) -> dict[str, str]:
    """Return this process's environment with only these GPUs visible. No GPUs: unchanged."""
    env = dict(os.environ)
    # `axolotl train` looks for `accelerate` on the PATH, and the venv may not be activated.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    if gpus:
        if "CUDA_VISIBLE_DEVICES" not in env:
            env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order in which nvidia-smi counts
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return env

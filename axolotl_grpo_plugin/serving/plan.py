"""Plan the processes of a run: on this machine, on Slurm's nodes, or through Ray."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
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
# Variables of a training's ranks, which vLLM would take for its own.
_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("TORCHELASTIC_", "ACCELERATE_")


class Call(NamedTuple):
    """The command line.

    launcher: --launcher. typed: the words after CONFIG, up to --. overrides: the config's keys among
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
    """One command of a plan: who, its GPUs, its number of processes, and the words after `axolotl`."""

    node: str
    who: str
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
        serve, train, processes = self.placement[1:]
        words: list[str] = []
        if self.mode == "server" and not self.call.processes:
            option = "--nproc-per-node" if self.call.launcher == "torchrun" else "--num-processes"
            words = [option, str(processes)]
        trainer = Part("", "trainer", train, processes, self.call.train(*words))
        return [*self._server("", serve), trainer]

    def _server(self, node: str, gpus: Sequence[str]) -> list[Part]:
        # `axolotl vllm-serve` knows only the vLLM options of `axolotl train`.
        words = ["vllm-serve", self.call.config]
        for key, value in self.call.overrides.items():
            if key.startswith("vllm__"):
                words.append(f"--{key.removeprefix('vllm__').replace('_', '-')}={value}")
        return [Part(node, "vLLM", gpus, 1, words)] if self.mode == "server" else []

    def mine(self) -> Part:
        """Return the trainer's command on this machine."""
        return self.parts()[-1]

    def supervise(self, more: Mapping[str, str]) -> int:
        """Run the plan to its end and return the exit code. more: added to the trainer's environment."""
        train, env = self.train_command(more)
        return Supervisor(self.serve).run(lambda each: each.on_one_machine(train, env))

    def train_command(self, more: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the trainer's command and environment on this machine."""
        part = self.mine()
        return [*AXOLOTL, *part.words], {**environment(part.gpus), **more}

    def serve(self, asked: Request) -> Server:
        """Start the requested server."""
        env = {k: v for k, v in environment(self.placement.serve).items() if k not in _RANK}
        env = {k: v for k, v in env.items() if not k.startswith(_LAUNCHERS)}
        log = Path(asked.output_dir, "vllm-server.log")
        return Server(asked.command, {**env, **asked.env}, asked.host, asked.port, log)

    def request(self) -> Request:
        """Ask Axolotl for the server's command in a process of its own, if no trainer here asks."""
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
        found = place(self.cfg, gpus, None)
        workers = tokens_of(self.cfg.get("ray_num_workers")) or 1
        host = self.cfg["vllm"]["host"] if self.mode == "server" else ""
        if workers > len(found.train) and host in ("127.0.0.1", "localhost"):
            _unreachable(self.cfg, host)
        return found._replace(processes=workers)

    def parts(self) -> list[Part]:
        # Axolotl's launcher does not read the YAML's key.
        words = [] if "--use-ray" in self.call.typed else ["--use-ray"]
        serve, train, processes = self.placement[1:]
        trainer = Part("", "trainer", train, processes, self.call.train(*words))
        return [*self._server("", serve), trainer]

    def supervise(self, more: Mapping[str, str]) -> int:
        train, env = self.train_command(more)
        request = self.request()
        return Supervisor(self.serve).run(lambda each: each.by_ray(request, train, env))


class SlurmPlan(Plan):
    """The first node serves, and the others train on all their GPUs. Without a server all nodes train."""

    def __init__(self, call: Call, cfg: Any, gpus: Sequence[str], job: Slurm):
        self.job = job
        super().__init__(call, cfg, gpus)
        self.trainers = job.nodes[1:] if self.mode == "server" else job.nodes

    def place(self, gpus: Sequence[str]) -> Placement:
        wanted = serving(self.cfg) if self.mode == "server" else 0
        if not gpus or wanted > len(gpus):
            what = f"{len(gpus)} GPUs are visible on this node, and vLLM needs {max(wanted, 1)}"
            fix = "Lower vllm.tensor_parallel_size x data_parallel_size, or ask Slurm for more"
            stop_on([Finding(at(self.cfg, "vllm"), what, fix)])
        host = self.cfg["vllm"]["host"] if wanted else ""
        if host in ("127.0.0.1", "localhost"):
            _unreachable(self.cfg, host)
        stop_on(_check_shared(self.cfg))
        ranks = self.call.processes or len(gpus)
        return Placement(
            self.mode, tuple(gpus[-wanted:]) if wanted else (), tuple(gpus[:ranks]), ranks
        )

    @property
    def ranks(self) -> int:
        return self.placement.processes * len(self.trainers)

    @property
    def serves_here(self) -> bool:
        return self.mode == "server" and self.job.this == 0

    def parts(self) -> list[Part]:
        words = [] if self.call.launcher == "torchrun" else ["--launcher", "torchrun"]
        if self.mode == "server":
            words += [f"--trl.vllm-server-host={self.job.first}"]
        _, gpus, ranks = self.placement[1:]
        training = [
            Part(
                node,
                "trainer",
                gpus,
                ranks,
                self.call.train(*words, launcher=self.job.torchrun(self.trainers, number, ranks)),
            )
            for number, node in enumerate(self.trainers)
        ]
        return [*self._server(self.job.first, self.placement.serve), *training]

    def mine(self) -> Part:
        return self.parts()[self.job.this]

    def supervise(self, more: Mapping[str, str]) -> int:
        folder = Path(self.cfg.get("output_dir") or "model-out")  # Axolotl's default
        ended = [folder / f"job-{self.job.job}-{node}.exit-code" for node in self.trainers]
        if self.serves_here:
            request = self.request()
            return Supervisor(self.serve).run(lambda each: each.on_the_first_node(request, ended))
        train, env = self.train_command(more)
        at = (self.job.first, self.cfg["vllm"]["port"], ended[self.job.this - 1])
        return Supervisor(self.serve).run(lambda each: each.on_a_training_node(train, env, *at))


def _unreachable(cfg: Any, host: str) -> None:
    what = "the other nodes cannot reach it"
    fix = "Set vllm.host: 0.0.0.0, on a network that you trust: the server has no login"
    stop_on([Finding(at(cfg, f"vllm.host ({host})"), what, fix)])


def _check_shared(cfg: Any) -> Iterator[Finding]:
    """Check that the serving node can read the adapters that another node writes."""
    folder = os.environ.get("TMPDIR", "/tmp")
    if block(cfg, "trl").get("vllm_lora_sync") and folder.startswith(("/tmp", "/var/tmp")):
        what = f"the adapters are written to TMPDIR ({folder}), which the first node does not see"
        fix = "Set TMPDIR to a folder that all nodes share"
        yield Finding(at(cfg, "trl.vllm_lora_sync"), what, fix)


def plan_of(call: Call, cfg: Any, gpus: Sequence[str]) -> Plan:
    """Return the plan for a Slurm job of several nodes, a Ray cluster, or one machine."""
    if job := slurm():
        return SlurmPlan(call, cfg, gpus, job)
    return (RayPlan if cfg.get("use_ray") else Plan)(call, cfg, gpus)


def environment(gpus: Sequence[str]) -> dict[str, str]:
    """Return this process's environment with these GPUs visible. Without GPUs it is unchanged."""
    found = dict(os.environ)
    # `axolotl train` looks for `accelerate` on the PATH, and the venv may not be activated.
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', '')}"
    if gpus:
        if "CUDA_VISIBLE_DEVICES" not in found:
            found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts
        found["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return found

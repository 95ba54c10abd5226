"""Plan the processes of a run: on this machine, or on Slurm's nodes."""

import logging
import os
import shlex
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.processes import start_fork, without_rank
from axolotl_grpo_plugin.serving.address import LOCAL_NAMES, server_address, trainer_address
from axolotl_grpo_plugin.serving.nodes import Slurm, place_on_nodes
from axolotl_grpo_plugin.serving.placement import Placement, Words, mode_of, place
from axolotl_grpo_plugin.serving.request import Request, make_request
from axolotl_grpo_plugin.serving.server import VLLMServer
from axolotl_grpo_plugin.serving.supervisor import Supervisor

AXOLOTL = [sys.executable, "-m", "axolotl_grpo_plugin.repairs.startup"]


class CommandLine(NamedTuple):
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

    def train(self, added: Words, launcher: Words = ()) -> list[str]:
        """Return the words of `axolotl train` on the config, with more words."""
        words = ["train", self.config, *self.typed, *added]
        if last := [*self.after, *launcher]:
            words += ["--", *last]
        return words


class Part(NamedTuple):
    """One command of a plan.

    node: its Slurm node, "" for this machine. gpus: ids. words: those after `axolotl`.
    """

    node: str
    gpus: Words
    words: list[str]

    def command(self) -> str:
        """Return the command as a user would type it."""
        line = shlex.join(["axolotl", *self.words])
        if self.gpus:
            line = f"CUDA_VISIBLE_DEVICES={','.join(self.gpus)} {line}"
        return f"{self.node}: {line}" if self.node else line


class Plan:
    """One machine: the last GPUs serve, the others train.

    serves_here: this machine starts vLLM's server. own: the index of this machine's command in
    `parts`. prints: this machine prints the plan. first_node: the server's host, "" if the plan does not
    name it.
    """

    own = -1
    prints = True
    first_node = ""

    def __init__(self, call: CommandLine, cfg: Config, gpus: Words):
        self.call = call
        self.cfg = cfg
        self.mode = mode_of(cfg)
        self.placement = self.place(gpus)
        self.serves_here = self.mode == "server"
        self.output_dir = str(output_dir(cfg))

    def place(self, gpus: Words) -> Placement:
        """Place server and trainer on this machine's GPUs."""
        return place(self.cfg, gpus, self.call.processes)

    def parts(self) -> list[Part]:
        """Return all commands, the server first."""
        words = self.call.train(self.added_words())
        return [*self.server_part(), Part("", self.placement.train, words)]

    def added_words(self) -> list[str]:
        """Return the options of `axolotl train` that the user need not type."""
        processes = self.placement.per_node
        if self.call.processes:  # typed, or 1 with --launcher python
            return []
        if self.mode == "server":
            torchrun = self.call.launcher == "torchrun"
            return ["--nproc-per-node" if torchrun else "--num-processes", str(processes)]
        # One process needs no `accelerate launch`, which would only import Axolotl again.
        wants_launcher = self.cfg.deepspeed or self.cfg.fsdp or self.cfg.fsdp_config
        typed = any(word.startswith(("--launcher", "--sweep")) for word in self.call.typed)
        if processes > 1 or wants_launcher or typed or self.call.after:
            return []
        return ["--launcher", "python"]

    def server_part(self, node: str = "") -> list[Part]:
        """Return the server's command, none if the config needs no server."""
        if self.mode != "server":
            return []
        words = ["vllm-serve", self.call.config]
        for key, value in self.call.overrides.items():
            # `axolotl vllm-serve` knows only the vLLM options of `axolotl train`.
            if key.startswith("vllm__"):
                name = key.removeprefix("vllm__").replace("_", "-")
                words.append(f"--{name}={value}")
        return [Part(node, self.placement.serve, words)]

    def supervise(self) -> int:
        """Run the plan to its end and return the exit code."""
        part = self.parts()[self.own]
        supervisor = Supervisor(
            self.serve,
            train=[*AXOLOTL, *part.words],
            env=environment(part.gpus),
            output_dir=self.output_dir,
        )
        return supervisor.run(lambda: self.work(supervisor))

    def work(self, supervisor: Supervisor) -> int:
        """Start this machine's processes, and return the exit code."""
        return supervisor.on_one_machine()

    def serve(self, request: Request) -> VLLMServer:
        """Start the requested server."""
        # A cluster may set the variables of training ranks. vLLM would take them for its own.
        return VLLMServer(request, without_rank(environment(self.placement.serve)))

    def request(self) -> Request:
        """Return Axolotl's command for the server, if no trainer here makes it.

        A fork makes it, because Axolotl's loader takes memory on the GPU.
        """

        def make(pipe: Connection) -> None:
            logging.getLogger("axolotl_grpo_plugin").setLevel(
                logging.ERROR
            )  # the trainer logs the warnings
            os.environ.update(environment(self.placement.serve))
            pipe.send(make_request(self.call.config, self.call.overrides, self.placement.processes))

        process, pipe = start_fork(make)
        process.join()
        if process.exitcode:
            what = "Axolotl did not make the server's command"
            stop("no-request", self.call.config, what, "See the error above")
        return pipe.recv()  # type: ignore[no-any-return]


class SlurmPlan(Plan):
    """The first node serves, and the others train on all their GPUs. Without a server all nodes train."""

    def __init__(self, call: CommandLine, cfg: Config, gpus: Words, job: Slurm):
        self.job = job
        super().__init__(call, cfg, gpus)
        self.own = job.this
        self.prints = job.this == 0
        self.trainers = job.nodes
        if self.mode == "server":
            self.trainers = job.nodes[1:]
            self.serves_here = job.this == 0
            host, _ = trainer_address(cfg)
            if host in LOCAL_NAMES:  # the server listens on all networks of the first node
                self.first_node = job.nodes[0]

    def place(self, gpus: Words) -> Placement:
        return place_on_nodes(self.cfg, gpus, len(self.job.nodes), self.call.processes)

    def parts(self) -> list[Part]:
        parts = self.server_part(self.job.nodes[0])
        for number, node in enumerate(self.trainers):
            torchrun = self.job.torchrun(self.trainers, number, self.placement.per_node)
            parts.append(
                Part(node, self.placement.train, self.call.train(self.added_words(), torchrun))
            )
        return parts

    def added_words(self) -> list[str]:
        words = [] if self.call.launcher == "torchrun" else ["--launcher", "torchrun"]
        if self.first_node:
            words.append(f"--trl.vllm-server-host={self.first_node}")
        return words

    def work(self, supervisor: Supervisor) -> int:
        if self.mode != "server":
            return super().work(supervisor)
        start = f"job-{self.job.job}"
        codes = [Path(self.output_dir, f"{start}-{node}.exit-code") for node in self.trainers]
        if self.serves_here:
            return supervisor.on_the_first_node(self.request(), codes)
        host, _ = trainer_address(self.cfg)
        _, port = server_address(self.cfg)
        exit_code = codes[self.job.this - 1]
        return supervisor.on_a_training_node(self.first_node or host, port, exit_code)


def plan_of(call: CommandLine, cfg: Config, gpus: Words, job: Slurm | None) -> Plan:
    """Return the plan for a job of several nodes, or for one machine."""
    return SlurmPlan(call, cfg, gpus, job) if job else Plan(call, cfg, gpus)


def environment(gpus: Words) -> dict[str, str]:
    """Return this process's environment with only these GPUs visible. No GPUs: unchanged."""
    env = dict(os.environ)
    # `axolotl train` looks for `accelerate` on the PATH, and the venv may not be activated.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    if gpus:
        if "CUDA_VISIBLE_DEVICES" not in env:
            env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order in which nvidia-smi counts
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return env

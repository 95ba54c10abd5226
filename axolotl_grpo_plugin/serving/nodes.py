"""More than one machine: under Slurm, `srun axolotl grpo train CONFIG` on every node.

The first node serves, the others train through torchrun. What ties them is a connection that each
training node holds to the first: the server lives as long as they do, and they as long as it.
"""

import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from axolotl_grpo_plugin.checks import ConfigError
from axolotl_grpo_plugin.serving.server import Server

RENDEZVOUS = 29500  # torchrun's port, on the first training node
BOOT = 1800  # seconds that the others wait for the first node's server
STEP = 0.2


class Slurm(NamedTuple):
    """The nodes of a Slurm job, the number of this one among them, and the job's id."""

    nodes: tuple[str, ...]
    this: int
    job: str

    @property
    def first(self) -> str:
        """The one that serves."""
        return self.nodes[0]

    def torchrun(self, trainers: Sequence[str], number: int, processes: int) -> list[str]:
        """torchrun's arguments on one of the training nodes."""
        return [
            *("--nnodes", str(len(trainers))),
            *("--nproc_per_node", str(processes)),
            *("--node_rank", str(number)),
            *("--rdzv_backend", "c10d"),
            *("--rdzv_endpoint", f"{trainers[0]}:{RENDEZVOUS}"),
            *("--rdzv_id", self.job),
        ]


def slurm() -> Slurm | None:
    """The job that this process is a task of, None where it is none of several nodes.

    Raises ConfigError where the tasks are not one a node.
    """
    env = os.environ
    if int(env.get("SLURM_NNODES") or 1) < 2 or "SLURM_JOB_NODELIST" not in env:
        return None
    if "SLURM_STEP_NUM_NODES" not in env:  # the batch script itself: the first node alone
        raise ConfigError(
            "axolotl-grpo-plugin: this Slurm job has several nodes. Start it with srun"
        )
    nodes = int(env["SLURM_STEP_NUM_NODES"])
    if nodes < 2:
        return None
    if int(env.get("SLURM_STEP_NUM_TASKS") or nodes) != nodes:
        what = "Slurm runs several tasks a node; one starts all of a node's processes"
        raise ConfigError(f"axolotl-grpo-plugin: {what}. Set --ntasks-per-node=1")
    listed = env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"]
    names = ["scontrol", "show", "hostnames", listed]
    found = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()
    return Slurm(tuple(found), int(env["SLURM_NODEID"]), env["SLURM_JOB_ID"])


def tie_of(port: int) -> int:
    """The port of the ties, beside the server's."""
    return port + 1


class Ties:
    """The first node's side. Open from before the server starts; others wait in the queue.

    Each training node says the job's id and is told it; its last byte is its exit code. What
    says something else is no part of the job.
    """

    def __init__(self, port: int, job: str, nodes: int):
        self._job, self._nodes = _greeting(job), nodes
        try:
            self._door = socket.create_server(("", port))
        except OSError as error:
            what = f"port {port}, beside vllm.port, cannot be listened on: {error.strerror}"
            raise ConfigError(f"axolotl-grpo-plugin: {what}. Set another vllm.port") from error
        self._said: dict[socket.socket, bytes] = {}
        self._codes: list[int] = []

    def hold(self, server: Server) -> tuple[int, str]:
        """Until all training nodes have ended well, or one badly, or the server: exit code and why."""
        deadline = time.monotonic() + BOOT
        try:
            while len(self._codes) < self._nodes:
                if server.ended() is not None:
                    return 1, ""
                self._hear()
                if any(self._codes):
                    return max(self._codes), f"a training node ended with {max(self._codes)}"
                if self._here() < self._nodes and time.monotonic() > deadline:
                    return 1, f"{self._here()} of {self._nodes} training nodes came in {BOOT} s"
            return 0, "all training nodes have ended"
        finally:
            for each in (self._door, *self._said):
                each.close()

    def _here(self) -> int:
        return len(self._codes) + sum(said.startswith(self._job) for said in self._said.values())

    def _hear(self) -> None:
        for ready in select.select([self._door, *self._said], [], [], STEP)[0]:
            if ready is self._door:
                tie = self._door.accept()[0]
                tie.sendall(self._job)
                self._said[tie] = b""
                continue
            try:
                heard = ready.recv(64)
            except ConnectionError:
                heard = b""
            said = self._said[ready] = self._said[ready] + heard
            ended = not heard
            if said.startswith(self._job) and (ended or len(said) > len(self._job)):
                last = said[len(self._job) :]
                self._codes.append(last[0] if last else 1)
                ended = True
            if ended:
                del self._said[ready]
                ready.close()


def _greeting(job: str) -> bytes:
    return f"axolotl-grpo {job}\n".encode()


def held(host: str, port: int, job: str) -> socket.socket:
    """A training node's side: the tie, when the first node's server serves.

    Raises ConfigError where there is none after BOOT seconds.
    """
    deadline, problem = time.monotonic() + BOOT, "another job listens there"
    while time.monotonic() < deadline:
        try:
            tie = socket.create_connection((host, port), timeout=10)
            tie.settimeout(max(deadline - time.monotonic(), 1))
            tie.sendall(_greeting(job))
            if tie.recv(64) == _greeting(job):
                tie.settimeout(None)
                return tie
            tie.close()
        except OSError as error:
            problem = str(error)
        time.sleep(2)
    what = f"no server on the first node, {host}:{port}, after {BOOT} s ({problem})"
    raise ConfigError(f"axolotl-grpo-plugin: {what}. Look at its log")


def gone(tie: socket.socket) -> bool:
    """Whether the first node has let go."""
    return bool(select.select([tie], [], [], 0)[0])


def tell(tie: socket.socket, code: int) -> None:
    """Tell the first node how this one has ended."""
    tie.sendall(bytes([code]))
    tie.close()

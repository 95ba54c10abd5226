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
    nodes = int(env.get("SLURM_STEP_NUM_NODES") or env.get("SLURM_NNODES") or 1)
    if nodes < 2 or "SLURM_PROCID" not in env:
        return None
    if int(env.get("SLURM_STEP_NUM_TASKS") or env.get("SLURM_NTASKS") or nodes) != nodes:
        what = "Slurm runs several tasks a node; one starts all of a node's processes"
        raise ConfigError(f"axolotl-grpo-plugin: {what}. Set --ntasks-per-node=1")
    listed = env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"]
    names = ["scontrol", "show", "hostnames", listed]
    found = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()
    return Slurm(tuple(found), int(env["SLURM_NODEID"]), env["SLURM_JOB_ID"])


def tie_of(port: int) -> int:
    """The port of the ties, beside the server's."""
    return port + 1


def hold(server: Server, port: int, nodes: int) -> int:
    """On the first node: keep the server until all training nodes have ended; the worst exit code.

    A node that ends badly, or without a word, ends all; so does the server.
    """
    codes: list[int] = []
    held: list[socket.socket] = []
    with socket.create_server(("", port)) as door:
        try:
            while len(codes) < nodes and not any(codes):
                if server.ended() is not None:
                    return 1
                for ready in select.select([door, *held], [], [], STEP)[0]:
                    if ready is door:
                        held.append(door.accept()[0])
                    else:
                        said = ready.recv(1)
                        codes.append(said[0] if said else 1)
                        held.remove(ready)
                        ready.close()
        finally:
            for each in held:
                each.close()
    return max(codes)


def held(host: str, port: int) -> socket.socket:
    """On a training node: the connection to the first, made when its server serves.

    Raises ConfigError where there is none after BOOT seconds.
    """
    deadline = time.monotonic() + BOOT
    while True:
        try:
            return socket.create_connection((host, port), timeout=10)
        except OSError as error:
            if time.monotonic() > deadline:
                what = f"no server on the first node, {host}:{port}, after {BOOT} s ({error})"
                raise ConfigError(f"axolotl-grpo-plugin: {what}. Look at its log") from error
            time.sleep(2)


def gone(tie: socket.socket) -> bool:
    """Whether the first node has let go."""
    return bool(select.select([tie], [], [], 0)[0])


def tell(tie: socket.socket, code: int) -> None:
    """Tell the first node how this one has ended."""
    tie.sendall(bytes([code]))
    tie.close()

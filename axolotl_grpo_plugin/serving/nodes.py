"""Several nodes under Slurm: `srun --kill-on-bad-exit=1 axolotl-grpo train CONFIG`, one task per node.

The first node serves and the others train through torchrun. A training node starts its trainer when
the first node's server answers, and writes the trainer's exit code into a file in output_dir. The
first node ends its server when all training nodes have ended. If a task fails, --kill-on-bad-exit=1
makes srun end the others. The nodes must share output_dir. It ran on a real Slurm cluster of CPUs (docs/gpus.md), not on GPUs.
"""

import os
import socket
from contextlib import suppress
from shutil import which
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, fault, stop, warning
from axolotl_grpo_plugin.processes import answer_of
from axolotl_grpo_plugin.serving.address import LOCAL, LOCAL_NAMES
from axolotl_grpo_plugin.serving.placement import Placement, Words, mode_of, serving

_PORT = 29500  # the first of torchrun's ports, on the first training node
_PORTS = 1000  # two jobs that share a node need two


class Slurm(NamedTuple):
    """The nodes of a Slurm job, the index of this node among them, and the job's id."""

    nodes: tuple[str, ...]
    this: int
    job: str

    def torchrun(self, trainers: Words, number: int, processes: int) -> list[str]:
        """Return torchrun's arguments for the training node with this index.

        Its backend c10d would ignore the index, and print stack traces when the first node has ended.
        """
        port = _PORT + int(self.job) % _PORTS if self.job.isdigit() else _PORT
        return [
            *("--nnodes", str(len(trainers))),
            *("--nproc_per_node", str(processes)),
            *("--node_rank", str(number)),
            *("--rdzv_backend", "static"),
            *("--rdzv_endpoint", f"{trainers[0]}:{port}"),
            *("--rdzv_id", self.job),
        ]


def slurm() -> Slurm | None:
    """Return this process's Slurm job, None unless it has several nodes.

    Raises: FindingError unless Slurm runs one task per node.
    """
    env = os.environ
    if int(env.get("SLURM_NNODES") or 1) < 2 or "SLURM_JOB_NODELIST" not in env:
        return None
    if "SLURM_STEP_NUM_NODES" not in env:  # the batch script runs on the first node only
        what = "this job has several nodes"
        stop("slurm-job", "Slurm", what, "Start it with srun --kill-on-bad-exit=1")
    nodes = int(env["SLURM_STEP_NUM_NODES"])
    if nodes < 2:
        return None
    if int(env.get("SLURM_STEP_NUM_TASKS") or nodes) != nodes:
        stop("slurm-job", "Slurm", "it runs several tasks per node", "Set --ntasks-per-node=1")
    if which("scontrol") is None:
        what = "scontrol is missing, so the nodes have no names"
        stop("slurm-job", "Slurm", what, "Mount it into the container")
    listed = env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"]
    shown = answer_of(["scontrol", "show", "hostnames", listed], 60.0)
    if shown.returncode:
        what = f"scontrol names no nodes: {shown.stderr.strip()}"
        stop("slurm-job", "Slurm", what, "Try again, or ask its admins")
    return Slurm(tuple(shown.stdout.split()), int(env["SLURM_NODEID"]), env["SLURM_JOB_ID"])


def planned(nodes: int) -> Slurm | None:
    """Return a job of this many nodes that is only planned, so its nodes have no names yet. None for one node."""
    if nodes < 2:
        return None
    return Slurm(tuple(f"node{number + 1}" for number in range(nodes)), 0, "JOB")


def is_restarted() -> bool:
    """Return whether Slurm has started this job again, for example because a node failed."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def place_on_nodes(cfg: Config, gpus: Words, nodes: int, processes: int | None = None) -> Placement:
    """Let the first node serve on its last GPUs, and each other node train on all. Without a server all train.

    cfg: a raw config. gpus: ids of the GPUs of each node, empty for CPUs. nodes: 2 or more. processes: those
    of each training node, by default one per GPU.
    Raises: FindingError if the nodes have too few GPUs, or cannot reach the server.
    """
    mode = mode_of(cfg)
    reserved = serving(cfg) if mode == "server" else 0
    if gpus and len(gpus) < reserved:
        stop(
            "too-few-gpus",
            cfg.at("vllm"),
            f"vLLM needs {reserved} GPUs on the first node, which has {len(gpus)}",
            "Lower vllm.tensor_parallel_size x data_parallel_size, or request more GPUs per node",
        )
    host = cfg.vllm.host or LOCAL
    if mode == "server" and host in LOCAL_NAMES:
        stop(
            "local-server",
            cfg.at(f"vllm.host ({host})"),
            "the other nodes cannot reach the server",
            "Set it to 0.0.0.0, on a private network only: the server has no login",
        )
    per_node = processes or len(gpus) or 1
    if gpus and len(gpus) < per_node:
        stop(
            "too-few-gpus",
            cfg.at("--nproc-per-node"),
            f"{per_node} processes train on each node, which has {len(gpus)} GPUs",
            "Lower it, or request more GPUs per node",
        )
    serve = tuple(gpus[len(gpus) - reserved :]) if gpus else ()
    training_nodes = nodes - 1 if mode == "server" else nodes
    return Placement(mode, serve, tuple(gpus[:per_node]), per_node, training_nodes)


def serves_others(cfg: Config) -> bool:
    """Return whether a config's server listens for other nodes, which train."""
    host = cfg.vllm.host or LOCAL
    return mode_of(cfg) == "server" and host not in LOCAL_NAMES


def check_idle(cfg: Config, gpus: int) -> Findings:
    """Check that a server for other nodes takes all `gpus` of its own node, because none of them trains."""
    idle = gpus - serving(cfg)
    if serves_others(cfg) and idle > 0:
        yield warning(
            "idle-gpus",
            "vllm",
            f"vLLM leaves {idle} of the first node's {gpus} GPUs idle",
            "Raise vllm.data_parallel_size, or tensor_parallel_size",
        )


def check_first_node(cfg: Config) -> Findings:
    """Check that the host that the trainers connect to is this node, which serves.

    The trainers of another node would wait for half an hour.
    """
    host = cfg.trl.vllm_server_host or LOCAL
    if host not in LOCAL_NAMES and not _is_here(host):
        yield fault(
            "not-first-node",
            cfg.at(f"trl.vllm_server_host ({host})"),
            f"it is no address of {socket.gethostname()}, the first node, which serves",
            "Remove the key. The trainers then connect to the first node of their job",
        )


def _is_here(host: str) -> bool:
    """Return whether a name or an address is this machine's."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:  # no such name
        return False
    for family, kind, protocol, _, address in addresses:
        with suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False

"""Several nodes under Slurm: `srun --kill-on-bad-exit=1 axolotl-grpo train CONFIG`, one task per node.

The first node serves and the others train through torchrun. A training node starts its trainer when
the first node's server answers, and writes the trainer's exit code into a file in output_dir. The
first node ends its server when all training nodes have ended. If a task fails, --kill-on-bad-exit=1
makes srun end the others. The nodes must share output_dir. Not run on a real Slurm.
"""

import os
from shutil import which
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, stop, warning
from axolotl_grpo_plugin.processes import answer_of
from axolotl_grpo_plugin.serving.address import LOCAL
from axolotl_grpo_plugin.serving.placement import Words, mode_of, serving

RENDEZVOUS = 29500  # torchrun's port, on the first training node


class Slurm(NamedTuple):
    """The nodes of a Slurm job, the index of this node among them, and the job's id."""

    nodes: tuple[str, ...]
    this: int
    job: str

    def torchrun(self, trainers: Words, number: int, processes: int) -> list[str]:
        """Return torchrun's arguments for the training node with this index."""
        return [
            *("--nnodes", str(len(trainers))),
            *("--nproc_per_node", str(processes)),
            *("--node_rank", str(number)),
            *("--rdzv_backend", "c10d"),
            *("--rdzv_endpoint", f"{trainers[0]}:{RENDEZVOUS}"),
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


def serves_others(cfg: Config) -> bool:
    """Return whether a config's server listens for other nodes, which train."""
    host = cfg.vllm.host or LOCAL
    return mode_of(cfg) == "server" and host not in (LOCAL, "localhost")


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

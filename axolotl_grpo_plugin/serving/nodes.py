"""Several nodes under Slurm: `srun --kill-on-bad-exit=1 axolotl grpo train CONFIG`, one task per node.

The first node serves and the others train through torchrun. A training node starts its trainer when
the first node's server answers, and writes the trainer's exit code into a file in output_dir. The
first node ends its server when all training nodes have ended. If a task fails, --kill-on-bad-exit=1
makes srun end the others. The nodes must share output_dir. Not run on a real Slurm.
"""

import os
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from axolotl_grpo_plugin.findings import ConfigError

RENDEZVOUS = 29500  # torchrun's port, on the first training node


class Slurm(NamedTuple):
    """The nodes of a Slurm job, the index of this node among them, and the job's id."""

    nodes: tuple[str, ...]
    this: int
    job: str

    def torchrun(self, trainers: Sequence[str], number: int, processes: int) -> list[str]:
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

    Raises: ConfigError unless Slurm runs one task per node.
    """
    env = os.environ
    if int(env.get("SLURM_NNODES") or 1) < 2 or "SLURM_JOB_NODELIST" not in env:
        return None
    if "SLURM_STEP_NUM_NODES" not in env:  # the batch script runs on the first node only
        what = "this Slurm job has several nodes. Start it with srun --kill-on-bad-exit=1."
        raise ConfigError(f"axolotl-grpo-plugin: {what}")
    nodes = int(env["SLURM_STEP_NUM_NODES"])
    if nodes < 2:
        return None
    if int(env.get("SLURM_STEP_NUM_TASKS") or nodes) != nodes:
        what = "Slurm runs several tasks per node. Set --ntasks-per-node=1."
        raise ConfigError(f"axolotl-grpo-plugin: {what}")
    listed = env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"]
    command = ["scontrol", "show", "hostnames", listed]
    nodelist = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Slurm(tuple(nodelist.split()), int(env["SLURM_NODEID"]), env["SLURM_JOB_ID"])

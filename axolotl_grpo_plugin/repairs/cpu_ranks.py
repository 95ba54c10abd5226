"""Let ranks without GPUs train one model: plainly, with FSDP2, or with DeepSpeed. gloo connects them.

Axolotl and accelerate take ranks without GPUs for one process, name "cuda", or ignore the engine of a config.
"""

import os
from importlib.util import find_spec

from axolotl_grpo_plugin.config import Config


def connect_cpus(cfg: Config) -> None:
    """Connect the ranks of a config on a machine without GPUs. Call it before accelerate starts.

    Args:
        cfg: The config before Axolotl's validation. Its keys name the engine.
    """
    if not _ranks_on_cpus():
        return
    _skip_peer_check()
    if cfg.fsdp_config:
        _shard_over_cpus()
        _name_cpu_mesh()
    elif cfg.deepspeed:
        _shard_over_cpus()
        _compile_nothing()
    else:
        # Without it, accelerate would train each rank by itself.
        os.environ["ACCELERATE_USE_CPU"] = "true"


def keep_on_cpu(cfg: Config) -> None:
    """Let ranks without GPUs load the model. Axolotl would put it on the GPU with the number of the rank."""
    if _ranks_on_cpus():
        cfg.raw["device_map"] = {"": "cpu"}


def _ranks_on_cpus() -> bool:
    import torch

    ranks = int(os.environ.get("WORLD_SIZE", 1))
    return ranks > 1 and not torch.cuda.is_available()


def _skip_peer_check() -> None:
    """Keep Axolotl from asking whether the GPUs of the ranks reach each other."""
    from axolotl.utils import environment

    environment.check_cuda_p2p_support = lambda: True


def _shard_over_cpus() -> None:
    """Let accelerate shard a model over CPUs.

    It ignores FSDP and DeepSpeed for ranks that it knows to be on CPUs, so it must take them for ranks of GPUs.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)


def _name_cpu_mesh() -> None:
    """Let Axolotl build the mesh of FSDP2's ranks. It names "cuda"."""
    from accelerate.parallelism_config import ParallelismConfig

    build = ParallelismConfig.build_device_mesh
    ParallelismConfig.build_device_mesh = lambda config, device_type: build(config, "cpu")


def _compile_nothing() -> None:
    """Let DeepSpeed connect CPUs by gloo only. It would compile a sum in shared memory, which needs a compiler."""
    if find_spec("deepspeed"):  # a check names a missing package later
        from deepspeed import ops

        ops.__compatible_ops__["deepspeed_shm_comm"] = False

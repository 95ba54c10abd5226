"""Shard a model of TRL's trainer over the ranks of a test, by the functions that a training of this package uses."""

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.repairs.cpu_ranks import connect_cpus
from tests.engines.sharded import FSDP2, ZERO3


def connect(engine):
    """Connect the ranks. Return the arguments of TRL's config for an engine: "fsdp2", "zero3", or None for DDP."""
    if engine == "fsdp2":
        connect_cpus(Config(FSDP2))
        return {"use_cpu": False, "fsdp": True, "fsdp_config": {"fsdp_version": 2, **FSDP2["fsdp_config"]}}
    if engine == "zero3":
        connect_cpus(Config({"deepspeed": ZERO3}))
        return {"use_cpu": False, "deepspeed": {**ZERO3, "zero_allow_untested_optimizer": True}}
    return {}


def weights(model):
    """Return copies of the whole weights of a model, by their names. All ranks call it."""
    whole = {}
    for name, weight in model.named_parameters():
        if hasattr(weight, "ds_id"):
            import deepspeed

            with deepspeed.zero.GatheredParameters([weight]):
                whole[name] = weight.detach().clone()
        elif hasattr(weight, "full_tensor"):
            whole[name] = weight.detach().full_tensor().clone()
        else:
            whole[name] = weight.detach().clone()
    return whole

"""Check that the engine of a config, FSDP or DeepSpeed, can run with the processes of a run."""

import os
from importlib.util import find_spec

from axolotl_grpo_plugin.checks.versions import install
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, fault


def check_engine(cfg: Config, ranks: int, has_gpus: bool) -> Findings:
    """Check that processes share the model. Alone, FSDP fails when it saves the model, and DeepSpeed has no network.

    On CPUs, transformers takes bf16 only in a form in which accelerate ignores both engines.

    Args:
        cfg: The config.
        ranks: The number of training processes.
        has_gpus: Whether they train on GPUs. DeepSpeed then takes one process.
    """
    for key in ("fsdp_config", "deepspeed"):
        takes_one = key == "deepspeed" and has_gpus
        if cfg.value_at(key) and ranks == 1 and not takes_one and not cfg.use_ray:
            yield fault(
                "alone",
                key,
                "it shares the model between processes, and there is only one",
                "Start two or more with `--launcher torchrun -- --nproc-per-node N`, or remove the key",
            )
        elif cfg.value_at(key) and cfg.bf16 is True and not has_gpus:
            yield fault(
                "bf16-on-cpus",
                "bf16",
                f"{key} shards 32-bit weights only on CPUs",
                "Set it to false",
            )


def check_process(cfg: Config) -> Findings:
    """Check that this training process can join the others of its engine. Axolotl would end with a traceback."""
    from torch.cuda import is_available

    if cfg.deepspeed and not find_spec("deepspeed"):
        yield fault(
            "not-installed",
            "deepspeed",
            "the package is not installed here, but this config uses it",
            install("deepspeed"),
        )
        return
    yield from check_engine(cfg, int(os.environ.get("WORLD_SIZE", 1)), is_available())

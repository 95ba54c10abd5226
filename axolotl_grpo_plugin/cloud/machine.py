"""Whether the container can do what config and command line ask for, before one is rented."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from axolotl_grpo_plugin.cloud.gpus import GPU
from axolotl_grpo_plugin.cloud.local import strings
from axolotl_grpo_plugin.commands.train import check_rl, check_words
from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import Call

_HERE = re.compile(r"://([^/@]*@)?(localhost|127\.|0\.0\.0\.0|\[::1?\])", re.IGNORECASE)


def check_gpu(cfg: Any, gpu: GPU | None) -> Iterator[Finding]:
    """The container has a GPU where vLLM needs one, and one that has the config's number type."""
    mode = mode_of(cfg)
    if gpu is None and mode != "none":
        yield Finding(
            at(cfg, "trl.use_vllm"), "the image's vLLM serves on GPUs", "Set gpu in cloud.yaml"
        )
    if gpu is None or gpu.bf16:
        return
    if cfg.get("bf16") in (True, "full"):
        fix = "Set bf16: false and fp16: true, or another gpu in cloud.yaml"
        yield Finding(at(cfg, "bf16"), f"a {gpu.name} has no bfloat16", fix)
    if mode != "none" and block(cfg, "vllm").get("dtype") in (None, "auto", "bfloat16"):
        fix = "Set vllm.dtype: half, or another gpu in cloud.yaml"
        yield Finding(at(cfg, "vllm.dtype"), f"a {gpu.name} has no bfloat16", fix)


def check_saving(cfg: Any) -> Iterator[Finding]:
    """A run that is cut off has something to go on from."""
    if cfg.get("save_strategy") in ("no", False):
        what = "no checkpoint is saved: a run that is preempted or timed out starts anew"
        fix = "Set save_strategy: steps, and save_steps"
        yield Finding(at(cfg, "save_strategy"), what, fix, level="warning")


def check_addresses(cfg: Any) -> Iterator[Finding]:
    """No reward or tracker is asked for on this machine: there, that is the container itself."""
    for key, where, value in strings(cfg):
        if "://" in value and not key.startswith("vllm_") and _HERE.search(value):
            what = "an address of this machine, and in the container nothing listens there"
            fix = "Write one that can be reached from Modal"
            yield Finding(at(cfg, where), what, fix)  # it may hold a password


def check_call(call: Call, cfg: Any) -> Iterator[Finding]:
    """`axolotl grpo train` takes these words in the container, and so does the launcher behind it."""
    refused = list(check_words(call, cfg))
    yield from (*check_rl(cfg), *refused)
    if cfg.get("use_ray"):
        what = "a container is one machine, and its image has no Ray"
        yield Finding(
            at(cfg, "use_ray"), what, "Remove it: `axolotl grpo train` starts the processes"
        )
    for word in unknown(call) - {each.where for each in refused}:
        what = "neither an option of `axolotl train` nor of its launcher"
        yield Finding(word, what, "Mend or remove it")


def unknown(call: Call) -> set[str]:
    """The options behind -- that the launcher does not know.

    `axolotl train` hands on what it does not know itself, a mistyped option too.
    """
    if call.launcher == "python":
        return set()
    if call.launcher == "torchrun":
        parser = import_module("torch.distributed.run").get_args_parser()
    else:
        parser = import_module("accelerate.commands.launch").launch_command_parser()
    left: list[str] = parser.parse_known_args([*call.after, "-m", "axolotl.cli.train"])[1]
    return {word.partition("=")[0] for word in left if word.startswith("-")}

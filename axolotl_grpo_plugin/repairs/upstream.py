"""Replace names of other packages that no subclass of a trainer can reach.

A function here does nothing else, and says why no other way is left. upstream.toml lists the names, and
tests/e2e/test_upstream.py finds names that moved. training/trainer.py overrides the methods of trainers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, StoppingCriteriaList
    from trl.extras.profiling import ProfilingContext


def check_plugin_names(check: Callable[[str], None]) -> None:
    """Let Axolotl check each entry of `plugins:` before it imports the entry.

    Axolotl imports all plugins before it registers any, so no hook of ours runs before a misspelt path fails.
    """
    from axolotl.integrations import base

    load = base.load_plugin

    def load_plugin(name: str) -> Any:
        check(name)
        return load(name)

    base.load_plugin = load_plugin


def start_ray_workers(train: Callable[[dict[str, Any]], None], on_cpus: bool) -> None:
    """Let Axolotl start Ray's workers with another function, and let it start them on CPUs.

    Axolotl 0.21 names its own function, and has `use_gpu=True` in its code. No key or hook is between them.

    Args:
        train: Trains in a worker, with the arguments of Axolotl's function.
        on_cpus: Ray must not ask for GPUs.
    """
    from axolotl.cli import train as axolotls

    axolotls.ray_train_func = train
    if on_cpus:
        ray_train: Any = import_module("ray.train")  # an optional package
        scaling = ray_train.ScalingConfig
        ray_train.ScalingConfig = lambda **options: scaling(**(options | {"use_gpu": False}))


@contextmanager
def reward_functions(function_of: Callable[[str], Any]) -> Iterator[None]:
    """Let Axolotl give TRL our function for each entry of `trl.reward_funcs` inside a with block.

    Axolotl imports a path as it stands, without options, and checks its parameters.

    Args:
        function_of: Returns the function of an entry, or the name of a reward model.
    """
    from axolotl.core.trainers.grpo import GRPOStrategy

    with patch.object(GRPOStrategy, "get_reward_func", function_of):
        yield


@contextmanager
def no_reference_model() -> Iterator[None]:
    """Let Axolotl load the model only once inside a with block.

    Without an adapter, Axolotl 0.21 loads it again as a reference model, which no trainer of GRPO gets. No key
    prevents that. With `trl.beta` above 0, TRL loads a reference model itself.
    """
    from axolotl import train

    with patch.object(train, "setup_reference_model", lambda *_: None):
        yield


@contextmanager
def signal_handlers(set_handlers: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Let a function set the signal handlers of a training inside a with block.

    Axolotl's handler lets the first rank save alone. With FSDP and ZeRO-3, that rank has only a part of the model.

    Args:
        set_handlers: Gets a function that sets Axolotl's handler.
    """
    from axolotl import train

    set_theirs = train.setup_signal_handler

    def setup_signal_handler(cfg: Any, model: Any) -> None:
        set_handlers(partial(set_theirs, cfg, model))

    with patch.object(train, "setup_signal_handler", setup_signal_handler):
        yield


@contextmanager
def uploads(files_of: Callable[[Path], list[str] | None]) -> Iterator[None]:
    """Let transformers upload only some files of a folder inside a with block. It takes no choice of them.

    Args:
        files_of: Returns the patterns of a folder's files, None for all files.
    """
    from transformers.utils.hub import hf_api

    api = hf_api()
    upload = api.upload_folder

    def upload_folder(*, folder_path: str, **options: Any) -> Any:
        files = files_of(Path(folder_path))
        if files is not None:
            options["allow_patterns"] = files
        return upload(folder_path=folder_path, **options)

    with patch.object(api, "upload_folder", upload_folder):
        yield


def decode_with(
    model: "PreTrainedModel",
    loop: Callable[..., Any],
    stopping: "StoppingCriteriaList | None" = None,
) -> None:
    """Let `generate` decode with another loop and stop at more. transformers takes both per call only, and TRL makes the call."""
    model.generate = partial(model.generate, custom_generate=loop, stopping_criteria=stopping)


def merge_into_copies(model: Any, merged: Callable[[Any], Iterator[tuple[str, Any]]]) -> None:
    """Let TRL's sync of a LoRA read merged copies of the weights, and leave the weights as they are.

    TRL merges and subtracts the adapter in place, which bf16 rounds (trl#6688). It calls `merge_adapter`, reads
    `named_parameters` (`state_dict` with FSDP2), and calls `unmerge_adapter`.

    Args:
        model: A PEFT model.
        merged: Yields merged copies of the named tensors that it gets.
    """

    def merge_adapter() -> None:
        parameters = model.named_parameters
        state_dict = model.state_dict
        model.named_parameters = lambda: merged(parameters())
        model.state_dict = lambda: dict(merged(state_dict(keep_vars=True).items()))

    def unmerge_adapter() -> None:
        del model.named_parameters, model.state_dict

    model.merge_adapter = merge_adapter
    model.unmerge_adapter = unmerge_adapter


@contextmanager
def watching_blocks(begins: Callable[[str], None], ends: Callable[[str], None]) -> Iterator[None]:
    """Call functions with the name of each block that TRL profiles, such as a reward function.

    No callback knows of a generation or of a single reward function.
    """
    from trl.extras import profiling

    block = profiling.ProfilingContext
    enter = block.__enter__
    leave = block.__exit__

    def begin(context: "ProfilingContext") -> Any:
        begins(context.name)
        return enter(context)

    def end(context: "ProfilingContext", *error: object) -> Any:
        ends(context.name)
        return leave(context, *error)

    with patch.multiple(block, __enter__=begin, __exit__=end):
        yield

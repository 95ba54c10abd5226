"""Replace names of other packages. A function here does nothing else, and says why no other way is left.

upstream.toml lists the names, and tests/e2e/test_upstream.py finds names that moved.
A wrapper is called with the original and then with the original's arguments. training/run.py has the order of all
wrappers of a trainer.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import GRPOTrainer
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


def connect_cpus() -> None:
    """Let ranks without GPUs train one model: torchrun starts them, and gloo connects them.

    accelerate would train each rank by itself, and Axolotl asks whether the ranks' GPUs reach each other.
    """
    from axolotl.utils import environment

    if _ranks_on_cpus():
        os.environ["ACCELERATE_USE_CPU"] = "true"
        environment.check_cuda_p2p_support = lambda: True


def keep_on_cpu(cfg: Any) -> None:
    """Let ranks without GPUs load the model. Axolotl would put it on the GPU with the number of the rank."""
    if _ranks_on_cpus():
        cfg.device_map = {"": "cpu"}


def _ranks_on_cpus() -> bool:
    import torch

    ranks = int(os.environ.get("WORLD_SIZE", 1))
    return ranks > 1 and not torch.cuda.is_available()


@contextmanager
def no_reference_model() -> Iterator[None]:
    """Let Axolotl load the model only once inside a with block.

    Without an adapter, Axolotl 0.21 loads it again as a reference model, which no trainer of GRPO gets. No key
    prevents that. With `trl.beta` above 0, TRL loads a reference model itself.

    Raises: AttributeError if `setup_reference_model` is gone.
    """
    from axolotl import train

    with patch.object(train, "setup_reference_model", lambda *_: None):
        yield


@contextmanager
def more_trainer_arguments(more: dict[str, Any]) -> Iterator[None]:
    """Let Axolotl pass more keywords to the trainer inside a with block.

    Axolotl 0.21 has no key for TRL's `tools` and `environment_factory`.

    Raises: AttributeError if `set_trainer_kwargs` is gone.
    """
    from axolotl.core.trainers.grpo import GRPOStrategy

    given = GRPOStrategy.set_trainer_kwargs

    def set_trainer_kwargs(cfg: Any) -> dict[str, Any]:
        return {**given(cfg), **more}

    with patch.object(GRPOStrategy, "set_trainer_kwargs", set_trainer_kwargs):
        yield


def stop_at_tokens(trainer: "GRPOTrainer", ends: list[int], any_of: object) -> None:
    """Let completions stop at each of these end tokens. any_of: equals each of them.

    TRL 1.14.1 compares with the tokenizer's only (trl#7039).
    """
    trainer.eos_token_ids = ends
    if trainer.use_vllm:
        trainer.vllm_generation.generation_kwargs |= {"stop_token_ids": ends}
    else:
        trainer.generation_kwargs["eos_token_id"] = ends
        trainer.generation_config.eos_token_id = ends
    # TRL cuts a chat with tools at the tokenizer's own token. Others also begin turns, in GLM's template.
    trainer._get_tool_suffix_ids = copy(trainer)._get_tool_suffix_ids
    trainer._tokenizer = copy(trainer._tokenizer)
    vars(trainer._tokenizer)["eos_token_id"] = any_of


def decode_with(model: "PreTrainedModel", loop: Callable[..., Any]) -> None:
    """Let `generate` decode with another loop. transformers takes one per call only, and TRL makes the call."""
    model.generate = partial(model.generate, custom_generate=loop)


def wrap_generation(trainer: "GRPOTrainer", wrapper: Callable[..., Any]) -> None:
    """Wrap the generation of a batch. No callback gets the masks of the tools' tokens."""
    trainer._generate = partial(wrapper, trainer._generate)


def wrap_batches(trainer: "GRPOTrainer", wrapper: Callable[..., Any]) -> None:
    """Wrap the generation and scoring of a batch. No callback can change the batch of a step."""
    trainer._generate_and_score_completions = partial(
        wrapper, trainer._generate_and_score_completions
    )


def wrap_deferred_scores(trainer: "GRPOTrainer", wrapper: Callable[..., Any]) -> None:
    """Wrap the scoring in Axolotl's data producer, whose `num_items_in_batch` is an int where TRL splits tensors."""
    trainer._compute_deferred_scores = partial(wrapper, trainer._compute_deferred_scores)


def wrap_advantages(trainer: Any, score: Callable[..., Any], hook: Callable[..., Any]) -> None:
    """Wrap the scoring of Axolotl's async trainer, and its hook that gets the advantages.

    No callback can change them before the step.
    """
    for name in ("_compute_deferred_scores", "_score_streaming"):
        setattr(trainer, name, partial(score, getattr(trainer, name)))
    trainer._post_advantage_hook = partial(hook, trainer._post_advantage_hook)


def merge_into_copies(model: Any, merged: Callable[[Any], Iterator[tuple[str, Any]]]) -> None:
    """Let TRL's sync of a LoRA read merged copies of the weights, and leave the weights as they are.

    TRL merges and subtracts the adapter in place, which bf16 rounds (trl#6688). It calls `merge_adapter`, reads
    `named_parameters` (`state_dict` with FSDP2), and calls `unmerge_adapter`.

    merged: yields copies of the named tensors that it gets.
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


def write_card_with(trainer: "GRPOTrainer", write: Callable[..., None]) -> None:
    """Let the trainer write our model card. TRL's has neither rewards nor results, and every save writes it."""
    trainer.create_model_card = write


@contextmanager
def unlogged(trainer: "GRPOTrainer") -> Iterator[None]:
    """Drop the metrics and the logged completions of generations inside a with block. TRL logs each."""
    metrics = deepcopy(trainer._metrics)
    logs = deepcopy(trainer._logs)
    with patch.multiple(trainer, _metrics=metrics, _logs=logs):
        yield


@contextmanager
def answering_once(trainer: "GRPOTrainer") -> Iterator[None]:
    """Let the trainer answer each row once inside a with block, and drop its metrics.

    The size of a prompt group is fixed for all evaluations, and each evaluation is logged.
    """
    with patch.object(trainer, "num_generations_eval", 1):
        yield
    trainer._metrics["eval"].clear()
    trainer._pending_extra_logs.clear()
    trainer._pending_metrics.clear()


@contextmanager
def answering_greedily(trainer: "GRPOTrainer") -> Iterator[None]:
    """Let the trainer take the likeliest tokens inside a with block. TRL reads its sampling once, at the start."""
    from transformers import GenerationConfig

    if trainer.use_vllm:
        with patch.object(trainer.vllm_generation, "temperature", 0.0):
            yield
        return
    kept = dict(trainer.generation_kwargs)
    for name in ("do_sample", "temperature", "top_p", "top_k", "min_p"):
        kept.pop(name, None)
    greedy = GenerationConfig(**kept, do_sample=False, disable_compile=True)
    with patch.object(trainer, "generation_config", greedy):
        yield


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

"""Keep the base model of a LoRA run as it is, and record at the end whether it is.

TRL 1.14 syncs a LoRA to vLLM in three steps: merge it into the base, send all weights, subtract it
again. bf16 rounds both times, so the base drifts (trl#6688), and the saved adapter fits another base.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.distributed.tensor import DTensor
from torch.nn.utils.stateless import _reparametrize_module
from transformers import TrainerCallback

from axolotl_grpo_plugin.training.record import add_facts

LOG = logging.getLogger(__name__)


class KeepBase(TrainerCallback):
    """Lets TRL's sync send merged copies of the weights of a PEFT model, and checks its frozen weights.

    TRL calls `merge_adapter`, reads `named_parameters` (`state_dict` with FSDP2), and calls
    `unmerge_adapter`. In between, both now give merged copies: one at a time, or with FSDP2 all of
    this rank's shards. TRL's names, its order and its gathering stay, so all ranks still do the same.
    At the end run.yaml says whether the frozen weights of the first rank (or its shards) changed.
    """

    def __init__(self, model: Any):
        def merge_adapter() -> None:
            parameters, state_dict = model.named_parameters, model.state_dict
            model.named_parameters = lambda: _merged(model, parameters())
            model.state_dict = lambda: dict(_merged(model, state_dict(keep_vars=True).items()))

        def unmerge_adapter() -> None:
            del model.named_parameters, model.state_dict

        model.merge_adapter = merge_adapter
        model.unmerge_adapter = unmerge_adapter

    def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
        self._before = digests(model)  # before this, nothing is sharded

    def on_train_end(self, args: Any, state: Any, *_: Any, model: Any, **__: Any) -> None:
        if not state.is_world_process_zero:
            return
        result = "unchanged (all frozen weights of the first rank)"
        if digests(model) != self._before:
            result = "CHANGED by the training, so the saved adapter does not fit the original base"
            LOG.warning("the base model was %s.", result)
        add_facts(Path(args.output_dir), {"Base": result})


def _merged(model: Any, tensors: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each tensor with its name. A weight with LoRA layers is a copy, into which peft merges them."""
    layers = defaultdict(list)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            for weight in layer.get_base_layer().parameters(recurse=False):
                layers[weight].append(layer)
    for name, tensor in tensors:
        if tensor in layers:
            base = layers[tensor][0].get_base_layer()
            copies = {key: weight.clone() for key, weight in base.named_parameters(recurse=False)}
            with _reparametrize_module(base, copies):
                for layer in layers[tensor]:
                    layer.merge()
                    layer.merged_adapters.clear()
            tensor = copies[name.rpartition(".")[2]]
        yield name, tensor.detach()


def digests(model: Any) -> list[float]:
    """Return the bits of each frozen weight, combined by xor. Of a sharded one, this rank's shard counts."""
    found = []
    for weight in model.state_dict(keep_vars=True).values():
        own = getattr(weight, "ds_tensor", weight)  # ZeRO-3 keeps its shard there
        if isinstance(own, DTensor):  # FSDP2
            own = own.to_local()
        if own.element_size() == 1:  # torch has no hash of fp8, and on GPUs none of uint8
            own = own.view(torch.int8)
        if not weight.requires_grad:
            found.append(torch.hash_tensor(own).item())
    return found

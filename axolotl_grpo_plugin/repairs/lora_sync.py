"""Keep the base model of a LoRA run as it is.

TRL 1.14 syncs a LoRA to vLLM in three steps: merge it into the base, send all weights, subtract it
again. bf16 rounds both times, so the base drifts (trl#6688), and the saved adapter fits another base.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn.utils.stateless import _reparametrize_module
from trl import GRPOTrainer

from axolotl_grpo_plugin.repairs import upstream

type Named = tuple[str, torch.Tensor]


class KeptBase(GRPOTrainer):
    """TRL's trainer whose sync to vLLM leaves the base of a LoRA as it is. Other models need nothing."""

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        if isinstance(self.model, PeftModel):
            keep_base(self.model)


def keep_base(model: PeftModel) -> None:
    """Let TRL's sync send merged copies of the weights of a PEFT model, so that its frozen weights stay.

    A copy is made for one tensor at a time, or with FSDP2 for all of this rank's shards. TRL's names, its
    order and its gathering stay, so all ranks still do the same.
    """
    upstream.merge_into_copies(model, partial(_merged, model))


def _merged(model: PeftModel, tensors: Iterable[Named]) -> Iterator[Named]:
    """Yield each tensor with its name. A weight with LoRA layers is a copy, into which peft merges them."""
    layers = defaultdict[torch.Tensor, list[Any]](list)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            for weight in layer.get_base_layer().parameters(recurse=False):
                layers[weight].append(layer)
    for name, tensor in tensors:
        if tensor in layers:
            base = layers[tensor][0].get_base_layer()
            copies = {}
            for key, weight in base.named_parameters(recurse=False):
                copies[key] = weight.clone()
            with _reparametrize_module(base, copies):
                for layer in layers[tensor]:
                    layer.merge()
                    layer.merged_adapters.clear()
            tensor = copies[name.rpartition(".")[2]]
        yield name, tensor.detach()

"""The check of a packed pass against TRL's own pass, on the user's model, before the first update."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ROWS = 4  # of the passes that are compared

# The relative difference of log-probabilities that rounding may make. For SmolLM2-135M it is 7e-6 in float32, 0.004 in
# float16, and 0.019 in bfloat16. Deeper models may have more.
_ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}


def rounding_of(dtype: torch.dtype) -> float:
    """Return the relative difference that rounding may make to log-probabilities."""
    return _ROUNDING.get(dtype, _ROUNDING[torch.bfloat16])


def few_rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the first rows of a batch without columns of padding only, in the shape that TRL's pass takes."""
    ids, mask = input_ids[:ROWS], attention_mask[:ROWS]
    has_tokens = mask.any(dim=0)
    has_tokens[-logits_to_keep] = True  # TRL needs a column of completions
    kept = int(has_tokens[-logits_to_keep:].sum())
    return ids[:, has_tokens], mask[:, has_tokens], kept


@contextmanager
def inner_modules_in_eval(model: torch.nn.Module) -> Iterator[None]:
    """Turn dropout off, which is in the inner modules. The model itself keeps its mode.

    A thread that generates ahead reads the mode of the model itself.
    """
    inner = [module for module in model.modules() if module is not model]
    modes = [module.training for module in inner]
    for module in inner:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(inner, modes, strict=True):
            module.training = mode


def relative_difference(expected: torch.Tensor, packed: torch.Tensor) -> float:
    """Return the difference of log-probabilities, relative to how much they vary."""
    if len(expected) < 2:
        return 0.0
    expected, packed = expected.float(), packed.float()
    difference = (packed - expected).square().mean().sqrt()
    return float(difference / expected.std().clamp(min=1e-3))

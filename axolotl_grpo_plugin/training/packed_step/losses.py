"""The rows and the divisor of TRL's losses, so that passes with other rows have the same gradient."""

from axolotl_grpo_plugin.training.rows import Batch, loss_mask

# By what TRL divides the loss of a pass:
BY_ROWS = ("grpo", "sapo", "luspo", "dr_grpo")  # by the rows of the pass
BY_GENERATED_TOKENS = ("dapo", "cispo", "vespo")  # by the tokens of the generation batch
BY_PASS_TOKENS = ("bnpo",)  # by the tokens of the pass, so a row may not change its pass


def rows_with_gradient(batch: Batch, beta: float) -> list[int]:
    """Return the indices of the rows whose loss has a gradient.

    They have a token to train on, and an advantage. With `beta`, the divergence from the reference model has a
    gradient, whatever the advantage is.
    """
    keep = loss_mask(batch).any(dim=1)
    if beta == 0:
        keep &= batch["advantages"] != 0
    rows: list[int] = keep.nonzero().flatten().tolist()
    return rows


def loss_share(loss_type: str, batch: Batch, rows: list[int], rows_per_pass: int) -> float:
    """Return the factor that makes the loss of a pass its part of TRL's loss.

    A row that is left out has a loss of gradient 0. Each rank makes as many passes per step as in TRL, so TRL's means
    over ranks and passes stay. Only the number by which TRL divides the loss of a pass changes.

    Args:
        loss_type: TRL's name of the loss.
        batch: The rows that `rows` are of. For bnpo, TRL's pass.
        rows: The indices of the rows of the pass.
        rows_per_pass: The number of rows in a pass of TRL.
    """
    if not rows:
        return 0.0
    if loss_type in BY_ROWS:
        return len(rows) / rows_per_pass
    if loss_type in BY_PASS_TOKENS:
        mask = loss_mask(batch)
        return float(mask[rows].sum() / mask.sum())
    return 1.0  # BY_GENERATED_TOKENS: TRL divides by tokens of the generation batch, whose number stays

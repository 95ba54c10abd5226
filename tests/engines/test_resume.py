"""Two ranks go on from a checkpoint to the weights of an undisturbed run, bit for bit."""

import pytest

from tests.engines import sharded

# Four steps train on a generation batch, so that a checkpoint after the third is inside of it.
REUSED = {"trl__num_iterations": 2, "trl__generation_batch_size": 32}


@pytest.mark.slow
@pytest.mark.parametrize("engine", sharded.KEYS)
@pytest.mark.parametrize("changes", [{}, REUSED], ids=["one step per batch", "num_iterations 2"])
def test_resume_of_two_ranks_is_exact(ranks, tmp_path, engine, changes):
    sharded.check_resume(ranks, tmp_path, engine, saved=3, steps=6, **changes)

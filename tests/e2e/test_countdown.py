"""The Countdown quickstart learns."""

import pytest

from tests.e2e.conftest import held_out, train


@pytest.mark.slow
def test_held_out_correctness_rises(tmp_path):
    train("configs/countdown/quickstart.yaml", tmp_path, steps=80)
    changes = held_out(tmp_path, "equation_reward_func")
    assert all(change["rows"] == 200 for change in changes.values())
    assert changes["sampled"]["difference"]["low"] > 0.0, changes

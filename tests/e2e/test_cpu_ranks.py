"""Axolotl trains with two ranks on a machine without GPUs. test_packed_step.py compares such an update with TRL's."""

import pytest

from tests.e2e.conftest import finish, history, shipped_config, start, write


@pytest.mark.slow  # the ranks of tests/engines and test_packed_step.py run in each test run
def test_two_ranks_train_one_model(tmp_path):
    out = tmp_path / "run"
    config = shipped_config(max_steps=1, save_strategy="steps", output_dir=str(out), grpo_held_out_rows=None)
    torchrun = ("--launcher", "torchrun", "--", "--nproc-per-node", 2)
    printed = finish(start("train", write(tmp_path, config), *torchrun))
    for line in ("2 x cpu", "step 1, prompt of 8 completions"):
        assert printed.count(line) == 1  # printed by the first rank
    assert history(out, 1)[0]["grad_norm"] > 0

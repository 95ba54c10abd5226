"""ZeRO-3 on two ranks of this machine's CPU, which gloo connects."""

import signal

import pytest

from tests.e2e.test_packed_step import SETTINGS, check_ranks
from tests.engines import sharded

ENGINE = "zero3"
# In bnpo, no rank computes rows of another one. Only the first rank repeats prompts.
UNEQUAL = {"loss_type": "bnpo", "second_rank_repeats": False}


def test_signal_to_one_rank_ends_all_with_a_whole_model_and_a_resume_is_exact(tmp_path):
    sharded.check_signal_and_resume(tmp_path, ENGINE)


@pytest.mark.slow
def test_update_is_that_of_trl(tmp_path):
    check_ranks(tmp_path, [{"loss_type": "dapo"}, UNEQUAL], ENGINE)


@pytest.mark.slow
@pytest.mark.slow
def test_update_is_that_of_trl_in_all_settings(tmp_path):
    check_ranks(tmp_path, [*SETTINGS, {**UNEQUAL, "loss_type": "grpo"}, {"loss_type": "dapo", "lora": True}], ENGINE)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_reaches_vllm_as_one_merge(tmp_path, dtype):
    sharded.check_lora_sync(tmp_path, ENGINE, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_no_signal_loses_the_model(tmp_path, number):
    sharded.check_signals(tmp_path, ENGINE, number)

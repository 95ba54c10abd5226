"""FSDP2 and ZeRO-3 on two ranks of this machine's CPU, which gloo connects."""

import signal

import pytest

from tests.e2e.test_packed_step import SETTINGS, check_ranks
from tests.engines import sharded

pytestmark = pytest.mark.parametrize("engine", sharded.KINDS)
# In bnpo, no rank computes rows of another one. Only the first rank repeats prompts.
UNEQUAL = {"loss_type": "bnpo", "second_rank_repeats": False}
FEW = [{"loss_type": "dapo"}, UNEQUAL]
ALL = [*SETTINGS, {**UNEQUAL, "loss_type": "grpo"}, {"loss_type": "dapo", "lora": True}]
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]


def test_signal_to_one_rank_ends_all_with_a_whole_model_and_a_resume_is_exact(ranks, tmp_path, engine):
    sharded.check_signal_and_resume(ranks, tmp_path, engine)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True], ids=["model", "adapter"])
def test_best_model_is_whole(tmp_path, engine, adapter):
    sharded.check_best(tmp_path, engine, adapter)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FEW, ALL], ids=["few", "all"])
def test_update_is_that_of_trl(tmp_path, engine, settings):
    check_ranks(tmp_path, settings, engine)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_reaches_vllm_as_one_merge(tmp_path, engine, dtype):
    sharded.check_lora_sync(tmp_path, engine, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_no_signal_loses_the_model(ranks, tmp_path, engine, number):
    sharded.check_signals(ranks, tmp_path, engine, number)

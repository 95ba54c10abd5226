"""Each guard against a real pool of real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.worker import Outcome, to_outcome

HERE = "tests.scoring.rewards_that_fail"
COUNT = 3


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as patch:  # of a rank with a GPU
        patch.setenv("RANK", "3")
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")
        pool = Pool(2, 1 << 30, [RewardRef(f"{HERE}.hangs")])
    yield pool
    pool.close()


@pytest.fixture
def guard(pool):
    def make(name, isolation=None, timeout=0.5, limit=20.0):
        return GuardedReward(RewardRef(f"{HERE}.{name}"), name, pool, timeout, limit, isolation)

    return make


def call(guard, completions=("a", "b", "c"), **columns):
    logged = {"extra": {}, "metric": {}}
    scores = guard.for_trl()(
        prompts=["p"] * len(completions),
        completions=list(completions),
        completion_ids=[[1]] * len(completions),
        trainer_state=SimpleNamespace(global_step=7, log_history=[{}]),
        log_extra=logged["extra"].__setitem__,
        log_metric=logged["metric"].__setitem__,
        **columns,
    )
    return scores, logged


@pytest.mark.parametrize(
    "name, error, timed_out",
    [
        ("raises", "ZeroDivisionError: division by zero", False),
        ("hangs", "not scored within 2.5 s", True),
        ("exits", "the scoring process died, exit code 3", False),
        ("out_of_range", "returned 1.5, which is not within its range (0.0, 1.0)", False),
        ("too_few", "returned 1 scores for 3 completions", False),
    ],
)
def test_a_failed_score_is_none_and_says_why(guard, name, error, timed_out):
    failing = guard(name)
    scores, _ = call(failing)
    assert scores == [None] * COUNT
    for outcome in failing.outcomes:
        assert outcome.error.strip().endswith(error)
        assert outcome.timed_out is timed_out


def test_a_completion_that_takes_too_much_cpu_time_gets_the_lowest_score(guard):
    spinning = guard("spins_on_a", timeout=1.0)
    scores, logged = call(spinning, ["b", "a", "bb", "aa"])
    assert scores == [1.0, -1.0, 1.0, -1.0]
    assert logged["extra"]["spins_on_a/reason"] == ["fast", "too_slow", "fast", "too_slow"]
    assert not any(outcome.error for outcome in spinning.outcomes)
    assert "too_slow" in spinning.reasons


def test_memory_is_limited(guard):
    failing = guard("eats_memory", timeout=10.0)
    assert call(failing, ["a"])[0] == [None]
    assert "MemoryError" in failing.outcomes[0].error


def test_what_is_no_number_fails_alone(guard):
    failing = guard("no_number")
    assert call(failing, "abcde")[0] == [None, None, None, None, 0.5]
    nan, inf, text, none, half = failing.outcomes
    assert "nan" in nan.error and "inf" in inf.error and "'1.0'" in text.error
    assert not none.error and not half.error


def test_a_batch_is_limited_as_a_whole(guard):
    began = time.monotonic()
    for name, timeout in (("hangs_on_a_batch", 0.1), ("hangs", 60.0)):
        failing = guard(name, timeout=timeout, limit=1.0)
        assert call(failing)[0] == [None] * COUNT
        assert all(outcome.timed_out for outcome in failing.outcomes)
    assert time.monotonic() - began < 20


def test_the_processes_have_no_gpu_and_no_rank_and_what_they_log_arrives(pool, guard, monkeypatch):
    scores, logged = call(guard("logs"), answer=["x"] * COUNT)
    assert scores == [7.0] * COUNT
    assert logged["metric"]["pid"] != os.getpid()
    assert logged["extra"] == {"gpus": [""] * COUNT, "rank": ["none"] * COUNT}


def test_inline_runs_here(guard):
    scores, logged = call(guard("raises", isolation="inline"))
    assert scores == [None] * COUNT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")
        _, logged = call(guard("logs", isolation="inline"))
    assert logged["metric"]["pid"] == os.getpid()


def test_what_cannot_travel_runs_here_with_one_warning(guard, caplog):
    unpicklable = [lambda: None] * COUNT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")
        here = guard("logs")
        for _ in range(2):
            _, logged = call(here, tool=unpicklable)
    assert logged["metric"]["pid"] == os.getpid()
    (warning,) = caplog.messages
    assert "logs runs in the trainer's own process" in warning


def test_what_is_quick_stays_and_the_rest_goes(guard):
    quick = guard("quick_or_slow")
    assert call(quick, ["easy", "hard"])[0] == [1.0, 0.5]
    easy, hard = quick.outcomes
    assert easy.reason == "quick" and int(hard.reason) != os.getpid()


def test_one_that_hangs_costs_only_itself(guard):
    mixed = guard("right_unless_it_hangs")
    scores, logged = call(mixed, ["18", "hang", "17"], answer=["18"] * COUNT)
    assert scores == [2.0, None, 0.0]
    assert logged["extra"] == {"right_unless_it_hangs/reason": ["right", "", "wrong"]}


def test_async_functions_stay_async_and_are_held_to_the_same(guard):
    function = guard("judged").for_trl()
    assert asyncio.iscoroutinefunction(function)
    assert asyncio.run(function(["p"] * 3, ["a"] * 3)) == [1.0, None, None]
    late = guard("late", limit=0.1)
    assert asyncio.run(late.for_trl()(["p"], ["a"])) == [None]
    assert late.outcomes[0].timed_out


def test_it_works_off_the_main_thread(guard):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as threads:
        (scores, _) = threads.submit(call, guard("quick_or_slow"), ["easy", "hard"]).result()
    assert scores == [1.0, 0.5]


def test_a_pool_that_broke_is_started_again():
    pool = Pool(1, 1 << 30, [])

    pid = pool.run(os.getpid, [()], 5, 5)[0]
    os.kill(pid, signal.SIGKILL)  # as the kernel does when memory is short
    deadline = time.monotonic() + 10
    while pool._pool.active and time.monotonic() < deadline:
        time.sleep(0.05)
    (again,) = pool.run(os.getpid, [()], 5, 5)
    assert isinstance(again, int) and again != pid
    pool.close()
    assert not _alive(again)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_process_outlives_a_killed_trainer():
    code = (
        "import os, sys, signal; from axolotl_grpo_plugin.scoring.pool import Pool;"
        "print(*Pool(1, 1 << 30, []).run(os.getpid, [()], 5, 5), flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    deadline = time.monotonic() + 10
    while _alive(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(done.stdout))


@pytest.mark.parametrize("value", [10**400, 1e39, [1.0, 2.0], object(), True])
def test_no_value_raises_out_of_the_judgement(value):
    outcome = to_outcome(value)
    assert bool(outcome.error) is (value is not True)


def test_a_group_reward_is_called_for_the_batch_and_keeps_its_reasons(guard):
    own = guard("the_first")
    scores, logged = call(own)
    assert scores == [1.0, 0.0, 0.0]
    assert logged["extra"] == {"the_first/reason": ["first", "later", "later"]}
    assert [each.reason for each in own.outcomes] == ["first", "later", "later"]


def test_a_group_reward_is_held_to_its_range(pool):
    name = RewardRef(f"{HERE}.the_first", (("first", 2.0),))
    own = GuardedReward(name, "the_first", pool, 0.5, 20.0)
    assert call(own)[0] == [None, 0.0, 0.0]
    assert "2.0, which is not within its range" in own.outcomes[0].error


def test_it_knows_what_a_score_is_logged_apart_by(guard):
    own = guard("by_source")
    assert call(own, source=["a", "a", None])[0] == [1.0, 0.0, None]
    assert own.series == ["a", "a", ""]
    call(own, source=["None", "a b/c", 7])
    assert own.series == ["None", "a b/c", "7"]
    call(guard("raises"))
    assert guard("raises").series == []


def test_a_timeout_of_its_own_is_none_of_the_batchs(guard):
    own = guard("times_out")
    assert asyncio.run(own.for_trl()(["p"], ["a"])) == [None]
    assert not own.outcomes[0].timed_out
    assert own.outcomes[0].error.strip().endswith("TimeoutError: the judge is slow")


def test_it_knows_what_limits_a_call(guard):
    assert guard("hangs").timed_by == "grpo_reward_timeout"
    for name in ("late", "the_first", "hangs_on_a_batch"):
        assert guard(name).timed_by == "grpo_reward_batch_timeout"


@pytest.mark.parametrize("isolation", [None, "inline"])
def test_a_group_reward_of_too_few_scores_scores_none(guard, isolation):
    own = guard("first_alone", isolation)
    assert call(own)[0] == [None] * COUNT
    for outcome in own.outcomes:
        assert outcome.error.strip().endswith("returned 1 scores for a group of 3")


def test_what_is_logged_of_an_outcome():
    assert [Outcome(1.0, "right").said, Outcome(None, error="boom").said] == ["right", "error"]
    assert Outcome(None, error="late", timed_out=True).said == "timeout"


def test_what_a_reward_is_made_of_is_imported_once_for_all_processes():
    """By the server that forks them, which is one a program: so in a program of its own."""
    code = """
import time
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.scoring.pool import Pool

by = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"  # it imports sympy
options = (("by", by), ("reward", by))
pool = Pool(1, 1 << 30, [RewardRef("axolotl_grpo_plugin.rewards.shaping.gated", options)])
print(*pool.run(time.process_time, [()], 5, 5))
pool.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert float(done.stdout) < 0.25


def test_a_process_makes_its_rewards_ready_before_it_scores():
    name = RewardRef(f"{HERE}.wants_to_be_ready")
    pool = Pool(2, 1 << 30, [name])
    try:
        assert call(GuardedReward(name, "wants_to_be_ready", pool, 5.0, 20.0))[0] == [1.0] * 3
    finally:
        pool.close()

"""Guarded rewards with real scoring processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from array import array
from multiprocessing import forkserver
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.processes import alive
from axolotl_grpo_plugin.reward import Score
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.guards import Guards
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.worker import to_outcome, to_outcomes
from tests.conftest import ROOT, program
from tests.serving.marks import until

HERE = "tests.scoring.rewards_that_fail"
COUNT = 3


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as patch:  # as on a rank with a GPU
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


def test_range_of_the_yaml_names_the_best_score_and_refuses_others():
    path = "trl.rewards.think_format_reward"
    cfg = Config({"trl": {"reward_funcs": [path]}, "grpo_reward_range": {path: [0.0, 0.5]}})
    guards = Guards.of(cfg)
    texts = ["<think>9 * 2</think>18", "18"]
    right, wrong = guards.guards[path].score_list([{"prompt": [{"role": "user", "content": "9 * 2?"}]}] * 2, texts)
    guards.close()
    assert guards.highest() == {"think_format_reward": 0.5}
    assert wrong.value == 0.0
    assert right.error == "returned 1.0, which is outside its range (0.0, 0.5)"


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


def wait_for_end_of(pid):
    until(lambda: not alive(pid))


def test_episode_without_its_server_gets_no_score(guard):
    episodes = [SimpleNamespace(neutral=False), SimpleNamespace(neutral=True)]
    assert call(guard("spins_on_a"), "bb", environments=episodes)[0] == [1.0, None]


@pytest.mark.parametrize(
    "name, error, timed_out",
    [
        ("raises", "ZeroDivisionError: division by zero", False),
        ("hangs", "not scored within 0.25 s", True),
        ("exits", "the scoring process died, exit code 3", False),
        ("logs_a_lock", "gave a result that cannot be sent: cannot pickle '_thread.lock' object", False),
        ("out_of_range", "returned 1.5, which is outside its range (0.0, 1.0)", False),
        ("too_few", "returned 1 scores for 3 completions", False),
        ("first_alone", "returned 1 scores for a group of 3", False),
    ],
)
def test_failed_score_is_none_with_an_error(guard, name, error, timed_out):
    failing = guard(name, timeout=0.05) if timed_out else guard(name)
    scores, _ = call(failing)
    assert scores == [None] * COUNT
    for outcome in failing.take_outcomes():
        assert outcome.error.strip().endswith(error)
        assert outcome.timed_out is timed_out


def test_completion_over_the_cpu_limit_gets_the_lowest_score(guard):
    spinning = guard("spins_on_a", timeout=1.0)
    scores, logged = call(spinning, ["b", "a", "bb", "aa"])
    assert scores == [1.0, -1.0, 1.0, -1.0]
    assert logged["extra"]["spins_on_a/reason"] == ["fast", "too_slow", "fast", "too_slow"]
    assert not any(outcome.error for outcome in spinning.take_outcomes())
    assert "too_slow" in spinning.reasons


def test_reasons_that_are_not_declared_are_logged_beside_the_scores(guard):
    assert call(guard("declares_no_reasons"), ["a", "b"])[1]["extra"] == {
        "declares_no_reasons/reason": ["says a", "says b"]
    }
    assert call(guard("no_number"))[1]["extra"] == {}, "a plain function has no reasons"


def test_memory_of_a_process_is_limited(guard):
    failing = guard("eats_memory", timeout=10.0)
    assert call(failing, ["a"])[0] == [None]
    assert "MemoryError" in failing.take_outcomes()[0].error


def test_only_values_that_are_not_numbers_fail(guard):
    failing = guard("no_number")
    assert call(failing, "abcde")[0] == [None, None, None, None, 0.5]
    nan, inf, text, none, half = failing.take_outcomes()
    assert "nan" in nan.error and "inf" in inf.error and "'1.0'" in text.error
    assert not none.error and not half.error


def test_batch_has_a_time_limit(guard):
    began = time.monotonic()
    for name, timeout in (("hangs_on_a_batch", 0.1), ("hangs", 60.0)):
        failing = guard(name, timeout=timeout, limit=0.5)
        assert call(failing)[0] == [None] * COUNT
        assert all(outcome.timed_out for outcome in failing.take_outcomes())
    assert time.monotonic() - began < 20


def test_processes_have_no_gpu_and_no_rank_and_their_logs_arrive(guard):
    environments = [lambda: None] * COUNT  # TRL's, which stay in the trainer
    scores, logged = call(guard("logs"), answer=["x"] * COUNT, environments=environments)
    assert scores == [7.0] * COUNT
    assert logged["metric"]["pid"] != os.getpid()
    assert logged["extra"] == {"gpus": [""] * COUNT, "rank": ["none"] * COUNT}


def test_inline_reward_runs_in_this_process(guard, monkeypatch):
    assert call(guard("raises", isolation="inline"))[0] == [None] * COUNT
    assert call(guard("first_alone", isolation="inline"))[0] == [None] * COUNT
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    _, logged = call(guard("logs", isolation="inline"))
    assert logged["metric"]["pid"] == os.getpid()


def test_quick_check_runs_here_and_the_scorer_in_a_process(guard):
    quick = guard("quick_or_slow")
    assert call(quick, ["easy", "hard"])[0] == [1.0, 0.5]
    easy, hard = quick.take_outcomes()
    assert easy.reason == "quick" and int(hard.reason) != os.getpid()


def test_async_reward_stays_async_and_is_checked(guard):
    function = guard("judged").for_trl()
    assert asyncio.iscoroutinefunction(function)
    assert asyncio.run(function(["p"] * 3, ["a"] * 3)) == [1.0, None, None]


@pytest.mark.parametrize(
    "name, error, timed_out",
    [
        ("late", "not scored within 0.1 s", True),
        ("times_out", "TimeoutError: the judge is slow", False),  # raised by the reward itself
    ],
)
def test_async_reward_has_a_time_limit(guard, name, error, timed_out):
    own = guard(name, limit=0.1)
    assert asyncio.run(own.for_trl()(["p"], ["a"])) == [None]
    (outcome,) = own.take_outcomes()
    assert outcome.timed_out is timed_out and outcome.error.strip().endswith(error)


def test_end_of_a_process_is_not_a_timeout(guard):
    failing = guard("exits_well", timeout=60.0)
    assert call(failing, ["a"])[0] == [None]
    (outcome,) = failing.take_outcomes()
    assert outcome.error == "the scoring process died, exit code 0" and not outcome.timed_out


def test_process_that_ran_out_of_memory_is_replaced(guard):
    leaking = guard("leaks_memory", timeout=10.0)
    call(leaking, ["a"] * 12)
    errors = [outcome.error for outcome in leaking.take_outcomes()]
    assert any("MemoryError" in error for error in errors)
    assert errors.count("") >= 6, "each process has room for at least two of them"


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_are_killed_while_they_wait_are_replaced(workers):
    pool = Pool(workers, 1 << 30, [])
    for _ in range(5):
        pids = pool.run(os.getpid, [()] * 4, 5, 5)
        for pid in {pid for pid in pids if isinstance(pid, int)}:
            os.kill(pid, signal.SIGKILL)  # as the kernel does if memory runs out
        # Each of them may have taken a call before it dies.
        errors = [result for result in pool.run(os.getpid, [()] * 4, 5, 5) if not isinstance(result, int)]
        assert len(errors) <= workers
        assert all("died of signal 9 (Killed)" in str(error) for error in errors)
    pool.close()


def test_process_that_is_killed_while_it_scores_fails_one_score():
    pool = Pool(2, 1 << 30, [])
    calls = [(signal.SIGKILL,), (0,), (signal.SIGKILL,), (0,), (0,)]
    results = pool.run(signal.raise_signal, calls, 5, 5)
    pool.close()
    assert [result is None for result in results] == [False, True, False, True, True]


def test_fork_server_that_is_killed_is_started_again(pool):
    before = pool.run(os.getpid, [()] * 4, 5, 5)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)

    def has_new_processes():
        pids = pool.run(os.getpid, [()] * 4, 5, 5)
        return all(isinstance(pid, int) for pid in pids) and not {*pids} & {*before}

    until(has_new_processes)
    assert pool.run(os.getenv, [("CUDA_VISIBLE_DEVICES",)], 5, 5) == [""]


def children_of_reward(file):
    until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return list(map(int, file.read_text().split()))


@pytest.mark.parametrize("ends", ["hangs", "exits"])
def test_children_of_a_reward_end_with_its_process(guard, tmp_path, ends):
    call(guard("leaves_children", timeout=0.2), [str(tmp_path / ends)])
    for pid in children_of_reward(tmp_path / ends):
        wait_for_end_of(pid)


def test_children_of_a_reward_end_with_the_pool(tmp_path):
    pool = Pool(1, 1 << 30, [])
    name = "leaves_children"
    call(GuardedReward(RewardRef(f"{HERE}.{name}"), name, pool, 5.0, 20.0), [str(tmp_path / "returns")])
    pids = children_of_reward(tmp_path / "returns")
    assert all(map(alive, pids)), "a reward may keep a process for its next calls"
    pool.close()
    assert not any(map(alive, pids))


def test_children_of_a_reward_end_with_a_killed_trainer(tmp_path):
    code = f"""
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool

name = RewardRef("{HERE}.leaves_children")
GuardedReward(name, "", Pool(1, 1 << 30, []), 60.0, 60.0).score_list([{{}}], ["{tmp_path}/hangs"])
"""
    trainer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    pids = children_of_reward(tmp_path / "hangs")
    trainer.kill()
    for pid in pids:
        wait_for_end_of(pid)
    trainer.wait()


def test_processes_that_die_while_they_start_are_named():
    with pytest.raises(FindingError, match="died, exit code 7") as stopped:
        Pool(1, 1 << 30, [RewardRef(f"{HERE}.dies_before_it_scores")])
    assert stopped.value.finding.code == "scoring-process-dies"


@pytest.mark.parametrize("value", [10**400, 1e39, [1.0, 2.0], object(), True])
def test_any_value_becomes_an_outcome(value):
    outcome = to_outcome(value)
    assert bool(outcome.error) is (value is not True)


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_output_of_rewards_is_capped_for_each_batch(guard, capfd, isolation):
    for _ in range(2):
        guard("prints_a_lot", isolation).score_list([{}] * 3, ["a"] * 3)
        printed = "".join(capfd.readouterr())
        assert printed.startswith("the first line of") and len(printed) < 11_000  # of one of several processes
        assert "the rewards printed 290,057 characters more, which are left out." in printed


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_errors_are_shortened(guard, isolation):
    failing = guard("raises_a_long_error", isolation)
    assert call(failing, ["a"])[0] == [None]
    (outcome,) = failing.take_outcomes()
    assert "ValueError: text xxx" in outcome.error and outcome.error.endswith("end\n")
    assert "characters left out" in outcome.error and "lines left out" in outcome.error
    assert len(outcome.error) < 5000


@pytest.mark.parametrize("results", [{0: 0.5, 1: 0.5}, {0.5, 1.0}, "01", b"01", {0: 0.5, 1: 0.5}.keys(), 0.5, None])
def test_results_that_are_no_list_fail_with_their_type(results):
    for outcome in to_outcomes(results, 2):
        assert outcome.value is None and "which is not a list" in outcome.error
        assert (
            not isinstance(results, dict) or outcome.error == "returned a dict, which is not a list: {0: 0.5, 1: 0.5}"
        )


@pytest.mark.parametrize("results", [(0.5, 1), iter([0.5, 1]), {"a": 0.5, "b": 1}.values(), array("d", [0.5, 1])])
def test_results_in_an_order_are_a_list(results):
    assert [outcome.value for outcome in to_outcomes(results, 2)] == [0.5, 1.0]


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_group_that_gets_a_set_has_no_scores(guard, isolation):
    failing = guard("all_different", isolation)
    assert call(failing)[0] == [None] * COUNT
    assert all("returned a set, which is not a list" in outcome.error for outcome in failing.take_outcomes())


def test_reason_and_read_text_of_any_type_become_text():
    assert to_outcome(Score(1.0, 1, None)) == to_outcome(Score(1.0, "1", ""))


def test_group_reward_scores_are_checked_against_the_range(pool):
    name = RewardRef(f"{HERE}.the_first", (("first", 2.0),))
    own = GuardedReward(name, "the_first", pool, 0.5, 20.0)
    assert call(own)[0] == [None, 0.0, 0.0]
    assert "2.0, which is outside its range" in own.take_outcomes()[0].error


def test_series_are_the_values_of_the_group_by_column(guard):
    own = guard("by_source")
    assert call(own, source=["a", "a", None])[0] == [1.0, 0.0, None]
    assert [outcome.series for outcome in own.take_outcomes()] == ["a", "a", ""]
    call(own, source=["None", "a b/c", 7])
    assert [outcome.series for outcome in own.take_outcomes()] == ["None", "a b/c", "7"]
    assert own.take_outcomes() == [], "they are taken once"


def test_limit_of_a_batch_comes_back_after_an_error(guard):
    own = guard("raises", limit=9.0)
    with pytest.raises(ValueError, match="stop"), own.limited(2.0):
        assert own.limit == 2.0
        raise ValueError("stop")
    assert own.limit == 9.0
    with own.limited(20.0):
        assert own.limit == 9.0


def test_fork_server_imports_inner_rewards_once_for_all_processes():
    """A program has one fork server, so this test needs its own program."""
    code = """
import time
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.scoring.pool import Pool

by = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"  # imports sympy
options = (("by", by), ("reward", by))
pool = Pool(1, 1 << 30, [RewardRef("axolotl_grpo_plugin.rewards.shaping.gated", options)])
print(*pool.run(time.process_time, [()], 5, 5))
pool.close()
"""
    assert float(program(code)) < 0.25


def test_process_makes_its_rewards_ready_before_it_scores():
    name = RewardRef(f"{HERE}.wants_to_be_ready")
    pool = Pool(2, 1 << 30, [name])
    try:
        assert call(GuardedReward(name, "wants_to_be_ready", pool, 5.0, 20.0))[0] == [1.0] * 3
    finally:
        pool.close()


def test_reward_gets_the_mark_that_each_prompt_opens():
    guarded = GuardedReward(
        RewardRef("axolotl_grpo_plugin.rewards.math.accuracy_reward_func"),
        "it",
        None,
        10.0,
        10.0,
        ends=lambda prompts: ["<think>" if "think" in str(prompt) else "" for prompt in prompts],
    )
    prompts = [[{"role": "user", "content": text}] for text in ("think", "answer")]
    rows = [{"prompt": prompt, "solution": "72"} for prompt in prompts]
    outcomes = guarded.score_list(rows, [r"\boxed{72}"] * 2)
    assert [outcome.reason for outcome in outcomes] == ["truncated", "correct"]

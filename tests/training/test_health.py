from types import SimpleNamespace

import pytest

from tests.conftest import Later

training = Later("axolotl_grpo_plugin.training.health")

GAP, RATIO = "sampling/sampling_logp_difference/mean", "sampling/importance_sampling_ratio/mean"
RIGHT, LAYOUT = "correctness_reward_func", "strict_format_reward_func"
ARGS = SimpleNamespace(max_completion_length=256)
HEALTHY = {
    "reward": 1.0,
    f"rewards/{RIGHT}/mean": 1.0,
    f"rewards/{LAYOUT}/mean": 0.3,
    "completions/clipped_ratio": 0.1,
    "frac_reward_zero_std": 0.3,
    "entropy": 0.3,
}


def signs(steps, highest_gap=None, args=ARGS, is_first_rank=True):
    """Return the signs that Health finds in logged steps."""
    state = SimpleNamespace(is_world_process_zero=is_first_rank, log_history=[])
    health = training.Health(RIGHT, {RIGHT: 2.0, LAYOUT: 0.5}, highest_gap=highest_gap)
    for logs in steps:
        state.log_history.append(logs)
        health.on_log(args, state, None, logs=logs)
    return health.reported


def ramp(first, last, steps=60):
    return [first + (last - first) * step / (steps - 1) for step in range(steps)]


def series(**curves):
    """Return 60 steps. A curve is a value, or a list of values; `right`, `layout` name the rewards."""
    names = {"right": f"rewards/{RIGHT}/mean", "layout": f"rewards/{LAYOUT}/mean"}
    steps = [dict(HEALTHY) for _ in range(60)]
    for name, curve in curves.items():
        for step, logs in enumerate(steps):
            logs[names.get(name, name)] = curve[step] if isinstance(curve, list) else curve
    return steps


def test_healthy_or_short_run_gets_no_warning():
    assert not signs(series())
    assert not signs(series(reward=0.0)[:19])


@pytest.mark.parametrize(
    "changes, sign",
    [
        ({"reward": None}, "every reward function gave None"),
        ({"reward": 0.0}, "the reward is flat at 0"),
        ({"right": 0.0, "reward": ramp(0.2, 0.6)}, "correctness is flat at 0"),
        ({"right": ramp(1.0, 0.4), "reward": ramp(1.2, 1.6)}, "correctness fell"),
        ({"layout": ramp(0.5, 0.1), "reward": ramp(1.0, 1.4)}, "strict_format fell"),
        ({"completions/clipped_ratio": 0.31}, "over 30 % of the completions were cut off"),
        ({"frac_reward_zero_std": 0.81}, "over 80 % of the prompt groups have equal rewards"),
        ({"frac_reward_zero_std": 1.0}, "over 80 % of the prompt groups have equal rewards"),
        ({"entropy": ramp(0.3, 0.0001)}, "the entropy fell below a fifth of its start"),
        ({GAP: 0.11, RATIO: 0.9}, "vLLM and the trainer disagree"),
        ({GAP: 0.02, RATIO: 0.49}, "the importance ratio is far from 1"),
        ({GAP: 0.02, RATIO: 0.0}, "the importance ratio is far from 1"),  # all are masked
        ({GAP: 0.02, RATIO: 2.1}, "the importance ratio is far from 1"),
    ],
)
def test_each_fault_is_one_sign(changes, sign):
    assert list(signs(series(**changes))) == [sign]


def test_sign_is_logged_once_with_its_cause(caplog):
    reasons = {f"reward_reasons/{RIGHT}/no_answer_tag": 0.75, f"reward_reasons/{RIGHT}/wrong_value": 0.25}
    signs(series(right=0.0, reward=ramp(0.2, 0.6), **reasons))
    own = [record.getMessage() for record in caplog.records if record.name == training.LOG.name]
    assert len(own) == 1 and own[0].startswith("in the last 20 steps, correctness is flat at 0: ")
    assert ", reasons: no_answer_tag 75%, wrong_value 25%. Read" in own[0]


@pytest.mark.parametrize("reward, cause", [((1.2, 1.6), "reward hacking"), ((1.3, 0.7), "raise trl.beta")])
def test_fall_of_one_reward_is_told_from_a_fall_of_all(reward, cause):
    found = signs(series(right=ramp(1.0, 0.4), reward=ramp(*reward)))
    assert cause in found["correctness fell"]


def test_usual_rounding_of_vllm_gets_no_warning():
    """trl#6789: with a bf16 trainer the difference has a standard deviation of 0.05."""
    assert not signs(series(**{GAP: 0.05, RATIO: 0.9}))


def with_gaps(*gaps, equal=None):
    """Return a step for each difference between vLLM and the trainer. equal: the steps with equal groups only."""
    steps = [{**HEALTHY, GAP: gap, RATIO: 1.0} for gap in gaps]
    for step in equal or ():
        steps[step]["frac_reward_zero_std"] = 1.0
    return steps


DRIFT = "vLLM's log-probabilities drift away from the trainer's"
DISAGREE = "vLLM and the trainer disagree"


@pytest.mark.parametrize(
    "steps, expected",
    [
        (with_gaps(1e-5, 0.002, 0.004, 0.006, 0.008), [DRIFT]),  # float32
        (with_gaps(0.012, 0.03, 0.05, 0.07, 0.09), [DRIFT]),  # bf16
        (with_gaps(0.0, 0.012, 0.05, 0.07, 0.09, 0.08, equal=[0]), [DRIFT]),  # the first step had no gradient
        (with_gaps(0.11, 0.12, 0.11, 0.12, 0.11), [DISAGREE]),
        (with_gaps(*[0.01] * 30, 0.2, 0.2, 0.2, 0.2, 0.2), [DISAGREE]),  # a sync that fails later
        # Healthy runs.
        (with_gaps(1e-5, 2e-5, 9e-5, 1e-4, 8e-5), []),
        (with_gaps(0.012, 0.03, 0.02, 0.03, 0.03), []),
        (with_gaps(0.012, 0.01, 0.9, 0.01, 0.02, 0.01), []),
        (with_gaps(0.0, 0.012, 0.011, 0.013, 0.012, 0.011, equal=[0]), []),
        (with_gaps(*[0.0] * 30), []),  # one process has both
        ([{**HEALTHY, GAP: None}] * 30, []),  # without vLLM
    ],
)
def test_old_weights_in_vllm_are_named_after_five_steps(steps, expected):
    assert list(signs(steps)) == expected
    assert not signs(steps[:4])


@pytest.mark.parametrize("settings", [{"async_prefetch": True}, {"vllm_sync_interval": 4}])
def test_weights_of_an_earlier_step_are_no_fault_if_the_config_asks_for_them(settings):
    args = SimpleNamespace(max_completion_length=256, **settings)
    steps = with_gaps(1e-5, 0.03, 0.04, 0.04, 0.05)
    assert not signs(steps, args=args) and signs(steps)


@pytest.mark.parametrize("is_first_rank", [True, False])
@pytest.mark.parametrize("highest, gaps", [(None, [1.1] * 5), (0.3, [0.0, 0.0, 0.4, 0.31, 0.5, 0.6, 0.5])])
def test_a_run_whose_vllm_has_other_weights_ends_with_one_line(is_first_rank, highest, gaps):
    signs(with_gaps(*gaps[:-1]), highest, is_first_rank=is_first_rank)  # does not end
    line = rf"axolotl-grpo-plugin: grpo_max_logprob_difference \({highest or 1:g}\): vLLM's and the trainer's .*\."
    with pytest.raises(SystemExit, match=f"^{line}$"):
        signs(with_gaps(*gaps), highest, is_first_rank=is_first_rank)


@pytest.mark.parametrize("highest, gaps", [(0, [9.0] * 9), (None, [1.1, 1.1, 1.1, 1.1, 0.9] * 4), (2, [1.9] * 9)])
def test_a_difference_below_the_limit_ends_no_run(highest, gaps):
    signs(with_gaps(*gaps), highest)


def test_solved_task_gets_no_warning():
    solved = {"right": ramp(1.9, 1.95), "frac_reward_zero_std": 0.9, "entropy": ramp(0.3, 0.01)}
    assert not signs(series(**solved))


def test_noise_is_no_fall():
    assert not signs(series(right=[1.3, 0.5] * 30, layout=[0.5, 0.0, 0.3] * 20))


def test_reports_unreadable_answers_after_five_steps():
    steps = series(reward=0.0, right=0.0, **{f"reward_reasons/{RIGHT}/no_answer_tag": 1.0})
    assert not signs(steps[:4])
    assert list(signs(steps[:5])) == ["no completion has a readable answer"]


def test_wrong_but_readable_answers_get_no_early_warning():
    wrong = {f"reward_reasons/{RIGHT}/no_answer_tag": 0.9, f"reward_reasons/{RIGHT}/wrong_value": 0.1}
    assert not signs(series(reward=0.0, right=0.0, **wrong)[:5])


@pytest.mark.parametrize(
    "equal, cause", [(1.0, "all prompt groups have equal"), (0.5, "some prompt groups have different")]
)
def test_reports_weights_that_cannot_change_after_five_steps(equal, cause):
    steps = series(grad_norm=0.0, frac_reward_zero_std=equal)
    assert not signs(steps[:4])
    (found,) = signs(steps[:5]).values()
    assert found.startswith(cause)


def test_solved_run_without_gradients_gets_no_warning():
    assert not signs(series(right=2.0, grad_norm=0.0)[:5])


def test_reports_answers_that_collapse_on_one_value():
    collapsed = "one answer is over 80 % of all answers"
    steps = series(**{"answers/most_frequent": 0.9})
    assert not signs(steps[:9])
    assert list(signs(steps[:10])) == [collapsed]
    assert not signs(series(right=1.9, **{"answers/most_frequent": 0.9}))
    assert not signs(series(**{"answers/most_frequent": [0.9, 0.7] * 30}))


def test_lost_rollouts_are_counted_at_each_log():
    log = SimpleNamespace(loss=lambda: "3 batches could not be written: No space left.")
    health = training.Health(RIGHT, {}, log)
    health.on_log(ARGS, SimpleNamespace(is_world_process_zero=True, log_history=[]), None, logs={"train_runtime": 1.0})
    assert health.reported == {"rollouts are lost": "3 batches could not be written: No space left"}


def test_logs_are_read_once(monkeypatch):
    read = []
    monkeypatch.setattr("axolotl_grpo_plugin.training.health._gaps", lambda steps: read.append(len(steps)) or [])
    health = training.Health(RIGHT, {RIGHT: 2.0})
    state = SimpleNamespace(is_world_process_zero=True, log_history=[])
    for _ in range(5):
        state.log_history.append(HEALTHY)
        health.on_log(ARGS, state, None, logs=HEALTHY)
    state.log_history = [HEALTHY] * 2  # of a checkpoint that was loaded
    health.on_log(ARGS, state, None, logs=HEALTHY)
    assert read == [1, 1, 1, 1, 1, 2]

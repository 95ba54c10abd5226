import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.scoring.worker import Outcome
from tests.conftest import Later
from tests.scoring.batches import scored_batch

scoring, torch = Later("axolotl_grpo_plugin.scoring.runner"), Later("torch")
guarded_scores = Later("axolotl_grpo_plugin.scoring.guarded_scores")
REWARD = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
HERE = "tests.scoring.rewards_that_fail"


@pytest.fixture
def runner():
    """Make runners of one reward."""
    made = []

    def make(reward):
        made.append(scoring.RewardRunner(Config({"trl": {"reward_funcs": [reward]}})))
        return made[-1]

    yield make
    for started in made:
        started.close()


def test_settings_come_from_the_config(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert scoring.ScoringSettings.of(Config({"trl": {}})) == scoring.ScoringSettings(10.0, 450.0, 4 << 30, 2, 0.05)
    cfg = {
        "trl": {"reward_num_workers": 3},
        "ddp_timeout": 400,
        "grpo_reward_error_limit": 0.0,
        "grpo_reward_memory": 0.5,
    }
    assert scoring.ScoringSettings.of(Config(cfg)) == scoring.ScoringSettings(10.0, 100.0, 1 << 29, 3, 0.0)


def test_isolation_is_set_for_all_rewards_or_for_one():
    def isolations(value):
        settings = scoring.ScoringSettings.of(Config({"grpo_reward_isolation": value}))
        return [settings.isolation_of(key) for key in "ab"]

    assert isolations(None) == [None, None]
    assert isolations("inline") == ["inline", "inline"]
    assert isolations({"a": "process"}) == ["process", None]


@pytest.fixture
def run_steps(runner):
    """Return a function that runs steps. failures: the number of failed scores per step."""

    def run(*failures, rows=100, scored=100):
        own = runner(REWARD)
        for step, failed in enumerate(failures):
            outcomes = [Outcome(None, error="boom")] * failed + [Outcome(0.5)] * (rows - failed)
            batch = scored_batch(int_reward_func=outcomes, prompts=["a question"] * rows, step=step + 1)
            own._stop_if_too_many(batch, {"int_reward_func": scoring.Counts(failed, scored, 0)})

    return run


def test_isolated_failures_do_not_stop_the_run(run_steps):
    run_steps(*[49] + [0] * 18 + [1] + [0] * 40)
    run_steps(1, rows=1, scored=1)
    run_steps(*[6] * 19)  # too short to count
    run_steps(*[40] * 2 + [0] * 60)  # 4 % of 20 steps


@pytest.mark.parametrize(
    "failures, scored, message",
    [
        ([0, 50], 100, "int_reward_func failed in 50 of 100 scores of one batch"),
        ([3], 4, "3 of 4 scores of one batch.*'a question': boom"),  # 96 rows of other tasks
        ([6] * 20, 100, "120 of 2000 scores of the last 20 steps"),
    ],
)
def test_too_many_failures_stop_the_run(run_steps, failures, scored, message):
    with pytest.raises(scoring.FindingError, match=message):
        run_steps(*failures, scored=scored)


def test_batch_in_which_all_are_too_slow_stops_the_run(runner):
    def step(scored, too_slow):
        counts = {"int_reward_func": scoring.Counts(0, scored, too_slow)}
        runner(REWARD)._stop_if_too_many(scored_batch(int_reward_func=[]), counts)

    step(scored=8, too_slow=7)
    step(scored=2, too_slow=2)
    with pytest.raises(scoring.FindingError, match="10 s of CPU time for each of 8 completions"):
        step(scored=8, too_slow=8)


def test_failing_reward_model_gives_no_scores(caplog):
    class Broken(torch.nn.Module):
        def forward(self, input_ids):
            raise IndexError("position out of range")

    model = Broken()
    guarded_scores.guard_model(model, "judge")
    assert model(input_ids=torch.zeros(2, 3)).logits[:, 0].isnan().all()
    assert "The reward model judge failed" in caplog.text


@pytest.mark.parametrize(
    "name, key",
    [
        ("by_source", "grpo_reward_timeout"),
        ("late", "grpo_reward_batch_timeout"),
        ("the_first", "grpo_reward_batch_timeout"),
        ("hangs_on_a_batch", "grpo_reward_batch_timeout"),
    ],
)
def test_fix_of_a_timeout_names_the_key_of_the_limit(runner, name, key):
    late = [Outcome(None, error="not scored in time", timed_out=True)]
    failure = runner(f"{HERE}.{name}")._failure(name, "all", 0, late, ["p"])
    assert f" Raise {key}, or make the reward faster." in str(failure)


@pytest.mark.parametrize("group, share", [(1, 0.75), (2, None)])
def test_share_of_the_most_frequent_answer_needs_four_prompts(runner, group, share):
    outcomes = [Outcome(0.0, read=text) for text in ("tech", "tech", "tech", "")]
    metrics = runner(REWARD).report(scored_batch(int_reward_func=outcomes, group=group))
    assert metrics.get("answers/most_frequent") == share

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.rehearsal.results import best_scores, check_checkpoint, check_pays, check_resumed
from tests.checks.found import levels

CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
CFG = {"trl": {"reward_funcs": [CORRECT]}}
NOTHING = [{"reward/correctness_reward_func": 0.0}, {"reward/correctness_reward_func": None}]


@pytest.mark.parametrize(
    "logged, answers, expected",
    [
        (NOTHING, [("18", {CORRECT: 0.0})], [("error", "right-answer-pays-nothing")]),
        (NOTHING, [("", {})], [("warning", "nothing-pays")]),
        (NOTHING, [("18", {CORRECT: 0.0}), ("2", {CORRECT: 2.0})], []),
        ([{"reward/correctness_reward_func": 0.5}], [], []),
    ],
)
def test_some_reward_must_pay_something(logged, answers, expected):
    best = best_scores(Config(CFG), logged, answers)
    assert levels(check_pays(best, "".join(text for text, _ in answers))) == expected


def test_accepts_a_reward_that_only_subtracts(tmp_path, monkeypatch):
    (tmp_path / "own_penalty.py").write_text(
        "from axolotl_grpo_plugin.reward import reward\n"
        "@reward(range=(-1.0, 0.0))\n"
        "def penalty(completion):\n"
        "    return -0.5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg = {"trl": {"reward_funcs": ["own_penalty.penalty"]}}
    best = best_scores(Config(cfg), [{"reward/penalty": -0.5}], [("18", {"own_penalty.penalty": -0.5})])
    assert not levels(check_pays(best, "18"))


@pytest.mark.parametrize(
    "files, expected",
    [
        (["trainer_state.json", "optimizer.pt"], []),
        (["trainer_state.json"], [("warning", "no-optimizer-state")]),
        ([], [("error", "no-checkpoint")]),
    ],
)
def test_checkpoint_needs_the_state_of_trainer_and_optimizer(tmp_path, files, expected):
    for name in files:
        (tmp_path / name).touch()
    assert levels(check_checkpoint(tmp_path)) == expected


def test_reports_a_run_that_begins_again_after_the_resume():
    assert not levels(check_resumed([1, 2, 3]))
    assert levels(check_resumed([1])) == [("error", "begins-again")]

import pytest

from axolotl_grpo_plugin.rehearsal.results import check_checkpoint, check_pays, check_resumed

CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
CFG = {"trl": {"reward_funcs": [CORRECT]}}
NOTHING = [{"reward/correctness_reward_func": 0.0}, {"reward/correctness_reward_func": None}]


def pays(logged=NOTHING, tried=(), cfg=CFG):
    return [(each.level, str(each)) for each in check_pays(cfg, logged, tried)]


def test_reports_rewards_that_pay_nothing_not_even_the_right_answer():
    ((level, line),) = pays(tried=[("18", {CORRECT: 0.0})])
    assert level == "error"
    assert "trl.reward_funcs: no reward paid for any of 2 completions, nor for the right" in line


def test_warns_if_nothing_paid_and_no_right_answer_is_known():
    ((level, line),) = pays(tried=[("", {})])
    assert level == "warning" and "no right answer is known to try" in line


@pytest.mark.parametrize(
    ("logged", "tried"),
    [(NOTHING, [("18", {CORRECT: 0.0}), ("2", {CORRECT: 2.0})]), ([{"reward/correctness_reward_func": 0.5}], [])],
)
def test_accepts_rewards_that_pay_for_something(logged, tried):
    assert not pays(logged, tried)


def test_accepts_a_reward_that_only_subtracts(tmp_path, monkeypatch):
    (tmp_path / "own_penalty.py").write_text(
        "from axolotl_grpo_plugin.reward import reward\n"
        "@reward(range=(-1.0, 0.0))\n"
        "def penalty(completion):\n"
        "    return -0.5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg = {"trl": {"reward_funcs": ["own_penalty.penalty"]}}
    assert not pays([{"reward/penalty": -0.5}], [("18", {"own_penalty.penalty": -0.5})], cfg)


def checkpoint(folder, *names):
    for name in names:
        (folder / name).touch()
    return [(each.level, str(each)) for each in check_checkpoint(folder, {})]


def test_accepts_a_checkpoint_with_its_optimizer(tmp_path):
    assert not checkpoint(tmp_path, "trainer_state.json", "optimizer.pt")


def test_reports_a_checkpoint_that_does_not_resume(tmp_path):
    ((level, line),) = checkpoint(tmp_path)
    assert level == "error" and "wrote no checkpoint" in line
    ((level, line),) = checkpoint(tmp_path, "trainer_state.json")
    assert level == "warning" and line.startswith("save_only_model: it does not resume")


def test_reports_a_run_that_begins_again_after_the_resume():
    assert not [*check_resumed([1, 2, 3])]
    (finding,) = check_resumed([1])
    assert "logged the steps [1], but it must go on after 2" in finding.what

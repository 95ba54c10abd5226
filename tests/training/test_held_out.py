import pytest

from axolotl_grpo_plugin.runlog.rewards import LoggedReward, rewards_of
from axolotl_grpo_plugin.runlog.schema import save
from axolotl_grpo_plugin.training.held_out import compared, earlier_answers, means
from axolotl_grpo_plugin.training.report import curve, plot
from tests.conftest import Later
from tests.viewer.data import write_held_out

callbacks, datasets, torch = Later("axolotl_grpo_plugin.training.callbacks"), Later("datasets"), Later("torch")


@pytest.fixture
def file(tmp_path):
    return write_held_out(tmp_path, [0.0, 0.0, 0.0, 2.0], [2.0, 2.0, 0.0, 2.0], {"right_reward_func": [0.0, 2.0]})


def test_compares_the_moments_row_by_row(file):
    (part,) = compared(file)
    right, mean = part["differences"]
    assert (mean["rows"], mean["means"], right["means"]) == (4, [0.5, 1.5], [0.25, 0.75])
    assert mean["difference"]["mean"] == 1.0


def test_only_rows_with_both_scores_count(tmp_path):
    file = write_held_out(tmp_path, [0.0, None], [1.0, 1.0], {"a": None, "b": None})
    (part,) = compared(file)
    (change,) = part["differences"]
    assert (change["reward"], change["of"], change["rows"], change["means"]) == ("a", "mean", 1, [0.0, 1.0])


def test_answers_of_a_resumed_run_replace_the_earlier_ones(file):
    again = {"model": ["after"], "mode": ["greedy"], "dataset": ["held-out rows"], "row": [2], "sample": [0]}
    again |= {"prompt": ["p"], "completion": ["c"], "step": [20], "reward/right_reward_func": [2.0]}
    save(file, again, rewards_of({"right_reward_func": [0.0, 2.0]}), earlier_answers(file))
    assert compared(file)[0]["differences"][1]["means"] == [0.5, 2.0]


def test_answers_that_a_power_cut_destroyed_are_left_out(file, caplog):
    file.write_bytes(b"")
    assert earlier_answers(file) is None and compared(file) == []
    assert str(file) in caplog.text


def test_an_unfinished_run_has_no_change(tmp_path):
    assert compared(write_held_out(tmp_path, [1.0], [], {"a": None})) == []
    assert compared(tmp_path / "missing") == []


def test_metrics_are_the_means_and_the_shares_of_right_answers():
    answers = [{"mode": "greedy", "reward/a": score} for score in (0.0, 2.0, None)]
    found = means(answers, [LoggedReward("a", (0.0, 2.0))])
    assert found == {"held_out/greedy/a/mean": 1.0, "held_out/greedy/a/right": 0.5}


def test_plots_curves(tmp_path):
    history = [{"step": 1, "reward": 0.5}, {"step": 2, "reward": None}, {"step": 3, "reward": 1.5}]
    curves = {key: curve(history, key) for key in ("reward", "right")}
    assert curves["reward"].to_dict() == {1: 0.5, 3: 1.5}
    plot(curves, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 5000

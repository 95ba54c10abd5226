import json

import numpy as np
import pytest
from rich.console import Console

from axolotl_grpo_plugin.evaluation.statistics import difference
from axolotl_grpo_plugin.training.held_out import read_changes
from axolotl_grpo_plugin.training.report import plot, table


def answer(when, mode, row, range=None, **rewards):
    place = {"when": when, "mode": mode, "row": row, "reward_ranges": dict.fromkeys(rewards, range)}
    return {**place, "prompt": "p", "completion": "c", "rewards": rewards}


def write(folder, answers):
    file = folder / "held_out.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in answers))
    return file


@pytest.fixture
def file(tmp_path):
    scores = {"before": [0, 0, 0, 2], "after": [2, 2, 0, 2]}
    answers = [
        answer(when, "greedy", row, [0.0, 2.0], right_reward_func=score)
        for when, rows in scores.items()
        for row, score in enumerate(rows)
    ]
    return write(tmp_path, answers)


def test_computes_the_interval_of_a_change(file):
    (change,) = read_changes(file)
    assert (change.rows, change.before, change.after) == (4, 0.5, 1.5)
    before, after = np.array([[0.0, 0, 0, 2]]).T, np.array([[2.0, 2, 0, 2]]).T
    assert (change.low, change.high) == difference(before, after)[1:]
    assert (change.right_before, change.right_after) == (0.25, 0.75)


def test_only_rows_with_both_scores_count(tmp_path):
    answers = [
        answer("before", "sampled", 0, a=0.0, b=1.0),
        answer("before", "sampled", 1, a=None, b=1.0),
        answer("after", "sampled", 0, a=1.0),
        answer("after", "sampled", 1, a=1.0),
    ]
    (change,) = read_changes(write(tmp_path, answers))
    assert (change.reward, change.rows, change.after, change.right_after) == ("a", 1, 1.0, None)


def test_equal_answers_still_have_an_interval(tmp_path, capsys):
    answers = [answer(when, "greedy", row, [0.0, 2.0], a=1.0) for when in ("before", "after") for row in range(150)]
    (change,) = read_changes(write(tmp_path, answers))
    assert (change.low, change.high) == pytest.approx((-0.023, 0.023), abs=0.005)
    Console(width=80).print(table([change._replace(low=change.low / 10, high=change.high / 10)]))
    assert "1.00 → 1.00 ±0.002" in capsys.readouterr().out


def test_an_unfinished_run_has_no_change(tmp_path):
    assert read_changes(write(tmp_path, [answer("before", "greedy", 0, a=1.0)])) == []


def test_half_a_line_of_a_killed_run_is_left_out(tmp_path):
    file = write(tmp_path, [answer(when, "greedy", 0, a=1.0) for when in ("before", "after")])
    with file.open("a") as lines:
        lines.write('{"when": "after", "mode": "gre')
    (change,) = read_changes(file)
    assert change.rows == 1


def test_table_shows_means_and_shares_of_right_answers(file, capsys):
    Console(width=80).print(table(read_changes(file)))
    shown = capsys.readouterr().out
    assert "4 held-out rows" in shown
    assert "right: right" in shown and "25.0% → 75.0%" in shown
    assert "0.50 → 1.50 ±1.37" in shown


def test_plots_with_and_without_held_out_rows(file, tmp_path):
    curves = {"reward": [(1, 0.5), (2, 1.5)], "right": []}
    plot(curves, read_changes(file), tmp_path / "with.png")
    plot(curves, [], tmp_path / "without.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("with.png", "without.png"))

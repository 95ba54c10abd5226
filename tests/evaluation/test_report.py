import io
import json
import time

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.report import markdown, plot, summarize, table

HIGHEST = {"right_reward_func": 2.0}
STEPS = {"base": 0, "checkpoint-10": 10, "final": 20}


def answer(model, row, right, mode="greedy", sample=0, **other):
    given = {
        "tokens": 10,
        "truncated": False,
        "scores": {"right_reward_func": 2.0 * right, "layout": 0.5},
        "reasons": {} if right else {"right_reward_func": "another | number"},
        "read": str(right),
        "lenient": True,
    }
    place = {"model": model, "step": STEPS.get(model), "mode": mode, "dataset": "gsm8k"}
    return ScoredAnswer(**place, row=row, sample=sample, **{**given, **other})


def greedy(**shares):
    """Return answers of models to 100 rows: the first so many are right."""
    return [answer(model.replace("_", "-"), row, row < right) for model, right in shares.items() for row in range(100)]


def printed(summary):
    console = Console(width=80, file=io.StringIO())
    console.print(table(summary))
    return console.file.getvalue()


def test_summary_has_each_statistic_of_a_model():
    answers = [
        answer("base", row, right, "sampled", sample, tokens=row, truncated=row == 1)
        for row, rights in enumerate([(1, 0, 0, 0), (1, 1, 1, 0)])
        for sample, right in enumerate(rights)
    ]
    (result,) = summarize(answers, HIGHEST)["results"]
    reward = result["rewards"]["right_reward_func"]
    assert (result["rows"], result["samples"], result["step"]) == (2, 4, 0)
    assert (result["tokens"], result["truncated"], result["lenient"]["mean"]) == (0.5, 0.5, 1.0)
    assert (reward["mean"]["mean"], reward["right"]["mean"]) == (1.0, 0.5)
    passed = {k: each["mean"] for k, each in reward["pass@k"].items()}
    assert passed == pytest.approx({"1": 0.5, "2": 0.75, "4": 1.0})
    assert reward["maj@n"]["mean"] == 0.5  # the wrong answers to the first row agree
    assert reward["reasons"] == {"another | number": 0.5}
    assert "right" not in result["rewards"]["layout"]


@pytest.mark.parametrize(
    ("right_read", "wrong_read", "majority"),
    [
        ("4", "5", 0.5),  # the wrong answers to the first row agree
        ("4", "", 1.0),  # an unreadable answer has no vote
        ("", "", None),  # a reward that returns a number
    ],
)
def test_majority_needs_a_reward_that_reads_answers(right_read, wrong_read, majority):
    read = {1: right_read, 0: wrong_read}
    answers = [
        answer("base", number // 3, right, "sampled", number % 3, read=read[right])
        for number, right in enumerate([1, 0, 0, 1, 1, 0])
    ]
    summary = summarize(answers, HIGHEST)
    reward = summary["results"][0]["rewards"]["right_reward_func"]
    assert reward.get("maj@n", {}).get("mean") == majority
    assert ("maj@3" in printed(summary)) == (majority is not None)


@pytest.mark.parametrize(("rows", "few"), [(29, True), (30, False)])
def test_report_says_that_intervals_of_few_rows_are_rough(rows, few):
    summary = summarize([answer("base", row, row % 2) for row in range(rows)], HIGHEST)
    for shown in (printed(summary), markdown(summary)):
        assert ("Fewer than 30 rows" in shown) == few


def test_summary_pairs_each_model_with_the_first():
    summary = summarize(greedy(base=40, final=60), HIGHEST, need=0.02)
    right, mean, layout = summary["differences"]
    assert (right["became_right"], right["became_wrong"]) == (20, 0)
    assert right["p"] == pytest.approx(2 / 2**20)
    assert right["rows_needed"] == pytest.approx(0.2 * 0.8 * (2.8016 / 0.02) ** 2, rel=0.02)
    assert mean["difference"]["mean"] == pytest.approx(0.4)
    assert layout["difference"]["mean"] == 0.0


@pytest.mark.parametrize(
    ("after", "start"),
    [
        (60, "new is better than base by 20.0 points (95 %: 11.8 to 27.9)"),
        (20, "new is worse than base by 20.0 points (95 %: 11.8 to 27.9)"),
        (42, "new against base: no difference that 100 rows can show (95 %: -"),
    ],
)
def test_verdict_names_the_better_model_only_if_the_rows_show_it(after, start):
    summary = summarize(greedy(base=40, new=after), HIGHEST)
    assert summary["differences"][0]["verdict"].startswith(start)


def test_a_reward_without_highest_score_is_compared_by_its_mean():
    summary = summarize(greedy(base=40, final=60), {})
    shown = printed(summary)
    assert "final is better than base by 0.40 (95 %: 0.24 to 0.56)" in shown
    assert "final  1.20 (1.00 to 1.38)" in shown


def test_one_row_gives_valid_json_and_a_table():
    summary = summarize([answer("base", 0, 1), answer("new", 0, 0)], HIGHEST)
    json.dumps(summary, allow_nan=False)
    assert "no difference that 1 rows can show" in printed(summary)


def test_table_fits_80_columns_and_markdown_is_a_table():
    answers = greedy(base=40, checkpoint_10=50, final=60)
    answers += [
        answer(model, row, (row + sample) % 3 == 0, "sampled", sample)
        for model in STEPS
        for row in range(20)
        for sample in range(8)
    ]
    summary = summarize(answers, HIGHEST, {"temperature": 0.9}, need=0.02)
    shown = printed(summary)
    assert max(map(len, shown.splitlines())) <= 80
    for text in ("base           40.0% (30.9 to 49.8)", "pass@8", "maj@8", "can show 2 points"):
        assert text in shown
    assert "right               0.80 → 1.20 ±0.16" in shown
    text = markdown(summary)
    assert "| base | 40.0% (30.9 to 49.8) | 100.0% | 0.0% | 10 |" in text
    assert "- temperature: 0.9" in text and r"another \| number" in text


def test_one_model_says_which_rows_it_needs():
    shown = printed(summarize(greedy(base=40), HIGHEST, need=0.02))
    assert "rows of each model, unpaired, can show 2 points" in shown


@pytest.mark.parametrize(("models", "axes"), [({"base": 40, "final": 60}, 1), (STEPS, 2)])
def test_plots_bars_and_a_curve_over_three_steps(tmp_path, monkeypatch, models, axes):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    answers = greedy(**{model.replace("-", "_"): 40 for model in models})
    plot(summarize(answers, HIGHEST), tmp_path / "eval.png")
    assert len(drawn[0].axes) == axes
    assert [each.get_text() for each in drawn[0].axes[0].get_xticklabels()] == ["base", "final"]


def test_summarizes_ten_thousand_answers_in_seconds():
    answers = [
        answer(model, row, (row + sample) % 2, "sampled", sample)
        for model in ("base", "final")
        for row in range(1319)
        for sample in range(4)
    ]
    begin = time.process_time()
    summarize(answers, HIGHEST)
    assert time.process_time() - begin < 3


def test_truncated_layout_is_told_from_an_answer_that_was_cut_off():
    line = 'truncated: no closing tag or box; "cut off" counts answers at the token limit\n'
    answers = [answer("base", row, False, reasons={"right_reward_func": "truncated"}) for row in range(5)]
    assert line in printed(summarize(answers, HIGHEST))
    assert line not in printed(summarize(greedy(base=4), HIGHEST))

import io
import json
import re

import pytest
from rich.console import Console

from axolotl_grpo_plugin.report.tables import markdown, shown, summarize
from axolotl_grpo_plugin.runlog.rewards import rewards_of

RIGHT = "right_reward_func"
REWARDS = rewards_of({RIGHT: [0.0, 2.0], "layout": None})
WITHOUT_RANGE = rewards_of({RIGHT: None, "layout": None})
STEPS = {"base": 0, "checkpoint-10": 10, "final": 20}


def answer(model, row, right, mode="greedy", sample=0, **other):
    return {
        "model": model,
        "step": STEPS.get(model),
        "mode": mode,
        "dataset": "gsm8k",
        "row": row,
        "sample": sample,
        "completion_tokens": 10,
        "truncated": False,
        f"reward/{RIGHT}": 2.0 * right,
        f"reason/{RIGHT}": "" if right else "another | number",
        f"read/{RIGHT}": str(right),
        f"lenient/{RIGHT}": True,
        "reward/layout": 0.5,
        **other,
    }


def greedy(**shares):
    """Return answers of models to 100 rows: the first so many are right."""
    return [answer(model.replace("_", "-"), row, row < right) for model, right in shares.items() for row in range(100)]


def printed(summary):
    console = Console(width=80, file=io.StringIO())
    console.print(shown(summary["parts"]))
    return console.file.getvalue()


def test_summary_has_each_statistic_of_a_model():
    answers = [
        answer("base", row, right, "sampled", sample, completion_tokens=row, truncated=row == 1)
        for row, rights in enumerate([(1, 0, 0, 0), (1, 1, 1, 0)])
        for sample, right in enumerate(rights)
    ]
    (result,) = summarize(answers, REWARDS)["parts"][0]["results"]
    reward = result["rewards"][RIGHT]
    assert (result["rows"], result["samples"], result["step"]) == (2, 4, 0)
    assert (result["completion_tokens"], result["truncated"], reward["lenient"]["mean"]) == (0.5, 0.5, 1.0)
    assert (reward["mean"]["mean"], reward["right"]["mean"]) == (1.0, 0.5)
    assert reward["pass@4"]["mean"] == 1.0
    assert reward["maj@4"]["mean"] == 0.5  # the wrong answers to the first row agree
    assert reward["- another | number"] == {"mean": 0.5}
    assert "right" not in result["rewards"]["layout"]


def test_majority_needs_a_reward_that_reads_answers():
    answers = [answer("base", 0, right, "sampled", right, **{f"read/{RIGHT}": ""}) for right in (0, 1)]
    assert "maj@2" not in printed(summarize(answers, REWARDS))


def test_report_names_the_most_frequent_answer_of_each_model():
    read = f"read/{RIGHT}"
    answers = [answer("base", row, 0, **{read: str(row)}) for row in range(100)]
    answers += [answer("final", row, 0, **{read: " tech\n" if row < 94 else ""}) for row in range(100)]
    text = printed(summarize(answers, REWARDS))
    assert "final: most frequent answer 94%: tech" in text
    assert "base: most frequent" not in text  # no answer occurs twice


def test_long_answers_are_shown_in_one_short_line():
    answers = [answer("base", row, 0, **{f"read/{RIGHT}": "a b\n" * 900}) for row in range(9)]
    text = printed(summarize(answers, REWARDS))
    assert f"most frequent answer 100%: {('a b ' * 10).strip()}\n" in re.sub(" *\n", "\n", text)


@pytest.mark.parametrize("rows, few", [(29, True), (30, False)])
def test_report_says_that_intervals_of_few_rows_are_rough(rows, few):
    summary = summarize([answer("base", row, row % 2) for row in range(rows)], REWARDS)
    for text in (printed(summary), markdown(summary)):
        assert ("Fewer than 30 rows" in text) == few


def test_summary_pairs_each_model_with_the_first():
    summary = summarize(greedy(base=40, final=60), REWARDS)
    right, mean, layout = summary["parts"][0]["differences"]
    assert "20 rows became right, 0 wrong" in right["verdict"]
    assert right["p"] == pytest.approx(2 / 2**20)
    assert mean["difference"]["mean"] == pytest.approx(0.4)
    assert layout["difference"]["mean"] == 0.0


@pytest.mark.parametrize(
    "after, start",
    [
        (60, "new against base: +20 points (95 %: +11.8 to +27.9);"),
        (20, "new against base: -20 points (95 %: -27.9 to -11.8);"),
        (40, "new against base: +0 points (95 %: -1.4 to +1.4), no difference that 100 rows can show;"),
    ],
)
def test_verdict_names_the_better_model_only_if_the_rows_show_it(after, start):
    summary = summarize(greedy(base=40, new=after), REWARDS)
    assert summary["parts"][0]["differences"][0]["verdict"].startswith(start)


@pytest.mark.parametrize("rows", [16, 100])
@pytest.mark.parametrize(("gained", "lost", "is_shown"), [(5, 0, False), (11, 3, False), (6, 0, True), (12, 2, True)])
def test_verdict_claims_no_difference_that_mcnemars_test_does_not_show(rows, gained, lost, is_shown):
    answers = [answer("base", row, row < lost) for row in range(rows)]
    answers += [answer("final", row, lost <= row < lost + gained) for row in range(rows)]
    change = summarize(answers, REWARDS)["parts"][0]["differences"][0]
    assert change["difference"]["low"] > 0
    assert ("no difference" not in change["verdict"]) is is_shown


@pytest.mark.parametrize("models", [{}, {"final": 60}])
def test_mean_of_a_first_reward_without_a_range_is_told_once(models):
    shown = printed(summarize(greedy(base=40, **models), WITHOUT_RANGE))
    assert "mean of right (95 %)" in shown and "right: " not in shown


def test_a_reward_without_highest_score_is_compared_by_its_mean():
    summary = summarize(greedy(base=40, final=60), WITHOUT_RANGE)
    shown = printed(summary)
    assert "final against base: +0.4 (95 %: +0.237 to +0.558)" in shown
    assert "final  1.20 (1.00 to 1.38)" in shown


def test_equal_scores_without_a_range_have_no_interval():
    shown = printed(summarize(greedy(base=40, new=60), REWARDS))
    assert "layout: 0.50 → 0.50" in shown and "layout: 0.50 → 0.50 (" not in shown


def test_one_row_gives_valid_json_and_a_table():
    summary = summarize([answer("base", 0, 1), answer("new", 0, 0)], REWARDS)
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
    summary = summarize(answers, REWARDS, {"temperature": 0.9})
    shown = printed(summary)
    assert max(map(len, shown.splitlines())) <= 80
    for text in (
        "base           40.0% (30.9 to 49.8)",
        "pass@8",
        "maj@8",
        "right: 0.80 → 1.20 (95 % of the change: +0.24 to +0.56)",
        "base: another | number 60.0%",
    ):
        assert text in shown
    for text in ("| base | 40.0% (30.9 to 49.8) | 100.0% | 0.0% | 10 |", "- temperature: 0.9"):
        assert text in markdown(summary)

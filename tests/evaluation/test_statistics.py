"""Statistics of evaluations equal scipy's and brute force; simulated data show their coverage."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from axolotl_grpo_plugin.evaluation import statistics

NAN = np.nan


def binary(rows, samples, seed=0, share=0.4):
    difficulty = np.random.default_rng(seed).beta(share, 1 - share, (rows, 1))
    return (np.random.default_rng(seed + 1).random((rows, samples)) < difficulty) * 1.0


@pytest.mark.parametrize("right", [0, 1, 30, 60])
def test_share_of_single_answers_is_wilsons(right):
    answers = np.zeros((60, 1))
    answers[:right] = 1.0
    wilson = stats.binomtest(right, 60).proportion_ci(method="wilson")
    expected = (right / 60, wilson.low, wilson.high)
    assert statistics.share(answers) == pytest.approx(expected, abs=1e-12)


def test_alike_answers_to_a_row_count_once():
    single = binary(60, 1)
    assert statistics.share(single.repeat(8, axis=1)) == pytest.approx(statistics.share(single))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_share_has_a_width_at_its_ends(value):
    interval = statistics.share(np.full((50, 8), value))
    assert 0.05 < interval.high - interval.low < 0.1 and value in (interval.low, interval.high)


@pytest.mark.parametrize("rows", [3, 30, 49, 234])
def test_interval_of_all_right_ends_at_one(rows):
    assert statistics.share(np.ones((rows, 1))).high == 1.0
    assert statistics.share(np.zeros((rows, 1))).low == 0.0


def test_answers_without_score_do_not_count():
    answers = np.array([[1, 0, NAN], [0, 0, 0], [NAN, NAN, NAN], [1, 1, 1]])
    assert statistics.share(answers).mean == pytest.approx(0.5)
    assert statistics.mean(answers).mean == pytest.approx(0.5)
    assert statistics.pass_at_k(answers, 3).mean == pytest.approx(0.5)  # the first row has two


def test_mean_and_difference_are_t_intervals_for_many_rows():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(4000, 1)) + rng.normal(size=(4000, 8))
    after = before + rng.normal(0.1, size=(4000, 8))
    for ours, rows in (
        (statistics.mean(before), before.mean(axis=1)),
        (statistics.difference(before, after), (after - before).mean(axis=1)),
    ):
        theirs = stats.ttest_1samp(rows, 0).confidence_interval()
        error = rows.std() / 4000**0.5
        assert ours == pytest.approx((rows.mean(), theirs.low, theirs.high), abs=0.03 * error)
        bootstrap = stats.bootstrap((rows,), np.mean, n_resamples=999, rng=1).confidence_interval
        assert ours[1:] == pytest.approx(bootstrap, abs=0.2 * error)


def test_equal_models_have_a_difference_with_a_width():
    answers = np.zeros((234, 1))
    low, high = statistics.difference(answers, answers, 0.0, 1.0)[1:]
    assert -low == pytest.approx(high) and 0.005 < high < 0.02


def test_mcnemar_is_the_binomial_test_of_changed_rows():
    before, after = np.array([[0] * 9 + [1] * 6]).T * 1.0, np.array([[1] * 8 + [0] * 3 + [1] * 4]).T
    assert statistics.changed(before, after * 1.0) == (8, 2)
    expected = 2 * (1 + 10 + 45) / 2**10  # 0, 1 or 2 of 10 throws, and the other tail
    assert statistics.mcnemar(before, after * 1.0) == pytest.approx(expected)
    assert statistics.mcnemar(before, before) == 1.0


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(k):
    answers = binary(20, 6)
    brute = [np.mean([any(each) for each in combinations(row, k)]) for row in answers]
    assert statistics.pass_at_k(answers, k).mean == pytest.approx(np.mean(brute))


@pytest.mark.parametrize(
    ("right", "read", "share"),
    [
        ([1, 1, 0, 0, 0], ["4", "4.0", "5", "6", "7"], 1.0),  # right answers of two spellings
        ([1, 0, 0], ["4", "5", "5"], 0.0),
        ([1, 0], ["4", "5"], 0.5),
        ([1, 0, 0], ["4", "5", "6"], 1 / 3),
        ([1, 0, 0, 0], ["4", "", "", ""], 1.0),  # an unreadable answer has no vote
        ([0, 0], ["", ""], 0.0),
        ([NAN, NAN, 0, 1, 1], ["5", "5", "5", "4", "4"], 1.0),
    ],
)
def test_majority_is_the_most_frequent_answer(right, read, share):
    assert statistics.majority(np.array([right], dtype=float), [read]).mean == pytest.approx(share)


def test_rows_needed_give_80_percent_power():
    rng = np.random.default_rng(0)
    by, pilot = 0.05, rng.normal(0, 0.3, 100_000)
    rows = statistics.rows_needed(pilot, by)
    assert rows == pytest.approx((1.96 + 0.8416) ** 2 * 0.3**2 / by**2, rel=0.02)
    found = stats.ttest_1samp(rng.normal(by, 0.3, (4000, rows)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)
    assert statistics.rows_needed(np.zeros(9), by) is None


def test_rows_needed_without_a_pair_count_both_models():
    right = (np.arange(1000) < 300)[:, None] * 1.0
    rows = statistics.rows_needed_unpaired(right, 0.1)
    assert rows == pytest.approx(2 * 0.3 * 0.7 * (1.96 + 0.8416) ** 2 / 0.1**2, rel=0.01)


def test_rows_needed_in_the_worst_case_are_those_of_two_models_that_are_right_by_chance():
    most = statistics.rows_needed(statistics.HALF_RIGHT, 0.02)
    assert most == pytest.approx(2 * 0.5 * 0.5 * (1.96 + 0.8416) ** 2 / 0.02**2, rel=0.001)


@pytest.mark.parametrize(("rows", "low", "high"), [(range(1, 30), 0.79, 1.0), (range(30, 101), 0.92, 0.98)])
def test_exact_coverage_of_one_answer_per_row_is_the_documented_range(rows, low, high):
    shares, found = np.linspace(0.05, 0.95, 901), []
    for count in rows:
        right = np.arange(count + 1)
        ends = np.array([statistics.share((np.arange(count) < number)[:, None] * 1.0) for number in right])
        inside = (ends[:, 1:2] <= shares) & (shares <= ends[:, 2:])
        found.append((stats.binom.pmf(right[:, None], count, shares) * inside).sum(axis=0))
    assert (round(np.min(found), 2), round(np.max(found), 2)) == (low, high)


# Rows, samples, share before, share after. Rows differ in difficulty: a beta distribution.
SIMULATED = [(234, 8, 0.02, 0.04), (234, 8, 0.45, 0.55), (234, 8, 0.95, 0.97), (30, 8, 0.5, 0.6), (200, 1, 0.8, 0.9)]


@pytest.mark.parametrize(("rows", "samples", "before", "after"), SIMULATED)
def test_intervals_cover_95_percent(rows, samples, before, after):
    rng, runs = np.random.default_rng(0), 1000
    skill = rng.normal(size=(runs, rows, 1))
    later = 0.8 * skill + 0.6 * rng.normal(size=skill.shape)
    first, second = (
        (rng.random((runs, rows, samples)) < quantiles(each)[..., None]) * 1.0
        for each, quantiles in ((skill, beta(before)), (later, beta(after)))
    )
    intervals = {
        "share": (before, [statistics.share(each) for each in first]),
        "mean": (2 * before, [statistics.mean(2 * each, 0.0, 2.0) for each in first]),
        "difference": (
            after - before,
            [statistics.difference(*pair, 0.0, 1.0) for pair in zip(first, second, strict=True)],
        ),
    }
    for name, (true, found) in intervals.items():
        covered = np.mean([each.low <= true <= each.high for each in found])
        print(f"{rows} x {samples}, {before} to {after}: {name} {covered:.1%}")
        assert 0.93 <= covered <= 0.97, (name, covered)


def beta(share):
    """Return a function from normal scores to difficulties with this mean."""
    grid = np.linspace(-6, 6, 4001)
    values = stats.beta.ppf(stats.norm.cdf(grid), share, 1 - share)
    return lambda scores: np.interp(scores[..., 0], grid, values)

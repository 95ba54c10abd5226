"""Statistics of evaluations equal scipy's and brute force; simulated data show their coverage."""

import numpy as np
import pytest
from scipy import special

from axolotl_grpo_plugin.report import statistics

NAN = np.nan


def binary(rows, samples, seed=0, share=0.4):
    difficulty = np.random.default_rng(seed).beta(share, 1 - share, (rows, 1))
    return (np.random.default_rng(seed + 1).random((rows, samples)) < difficulty) * 1.0


@pytest.mark.parametrize(
    ("right", "low", "high"),  # of scipy's binomtest(right, 60).proportion_ci(method="wilson")
    [(0, 0, 0.0601718521421), (1, 0.0029481597948, 0.0885512972759), (30, 0.3773502424156, 0.6226497575844)],
)
def test_share_of_single_answers_is_wilsons(right, low, high):
    answers = np.zeros((60, 1))
    answers[:right] = 1.0
    assert statistics.share(answers) == pytest.approx((right / 60, low, high), abs=1e-12)
    assert statistics.share(1 - answers) == pytest.approx((1 - right / 60, 1 - high, 1 - low), abs=1e-12)


def test_alike_answers_to_a_row_count_once():
    single = binary(60, 1)
    assert statistics.share(single.repeat(8, axis=1)) == pytest.approx(statistics.share(single))


@pytest.mark.parametrize("rows", [3, 30, 49, 234])
def test_interval_of_all_right_ends_at_one(rows):
    assert statistics.share(np.ones((rows, 1))).high == 1.0
    assert statistics.share(np.zeros((rows, 1))).low == 0.0


def test_answers_without_score_do_not_count():
    answers = np.array([[1, 0, NAN], [0, 0, 0], [NAN, NAN, NAN], [1, 1, 1]])
    assert statistics.share(answers).mean == pytest.approx(0.5)
    assert statistics.mean(answers).mean == pytest.approx(0.5)
    assert statistics.pass_at_n(answers).mean == pytest.approx(0.5)  # the first row has two


def test_equal_models_have_a_difference_with_a_width():
    answers = np.zeros((234, 1))
    low, high = statistics.difference(answers, answers, 0.0, 1.0)[1:]
    assert -low == pytest.approx(high) and 0.005 < high < 0.02
    assert statistics.difference(answers, answers) == (0.0, None, None)  # no other score is known


def test_mcnemar_is_the_binomial_test_of_changed_rows():
    before = np.array([[0.0]] * 9 + [[1.0]] * 6)
    after = np.array([[1.0]] * 8 + [[0.0]] * 3 + [[1.0]] * 4)
    assert statistics.changed(before, after) == (8, 2)
    expected = 2 * (1 + 10 + 45) / 2**10  # 0, 1 or 2 of 10 throws, and the other tail
    assert statistics.mcnemar(8, 2) == pytest.approx(expected)
    assert statistics.mcnemar(0, 0) == 1.0


def test_pass_at_n_is_the_share_of_rows_with_a_right_answer():
    answers = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    assert statistics.pass_at_n(answers).mean == pytest.approx(0.75)


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


# Rows, samples, share before, share after. Rows differ in difficulty: a beta distribution.
SIMULATED = [(234, 8, 0.02, 0.04), (234, 8, 0.45, 0.55), (234, 8, 0.95, 0.97), (30, 8, 0.5, 0.6), (200, 1, 0.8, 0.9)]


@pytest.mark.every(2)
@pytest.mark.parametrize(("rows", "samples", "before", "after"), SIMULATED)
def test_intervals_cover_95_percent(rows, samples, before, after):
    rng, runs = np.random.default_rng(0), 1000
    skill = rng.normal(size=(runs, rows, 1))
    later = 0.8 * skill + 0.6 * rng.normal(size=skill.shape)
    uniform = rng.random((2, runs, rows, samples))
    first = (uniform[0] < difficulties(skill, before)) * 1.0
    second = (uniform[1] < difficulties(later, after)) * 1.0
    covered = dict.fromkeys(("share", "mean", "difference"), 0)
    for old, new in zip(first, second, strict=True):
        share = statistics.share(old)
        mean = statistics.mean(2 * old, 0.0, 2.0)
        difference = statistics.difference(old, new, 0.0, 1.0)
        covered["share"] += share.low <= before <= share.high
        covered["mean"] += mean.low <= 2 * before <= mean.high
        covered["difference"] += difference.low <= after - before <= difference.high
    assert all(0.93 <= count / runs <= 0.97 for count in covered.values()), covered


def difficulties(skill, share):
    """Return normal scores as difficulties with this mean."""
    grid = np.linspace(-6, 6, 4001)
    return np.interp(skill, grid, special.betaincinv(share, 1 - share, special.ndtr(grid)))

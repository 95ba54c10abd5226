import pytest
from scipy.stats import t

from axolotl_grpo_plugin.report.seeds import different_keys, over_seeds, pool, tables
from axolotl_grpo_plugin.report.tables import summarize
from tests.report.test_tables import REWARDS, WITHOUT_RANGE, greedy


def parts(rewards=REWARDS, **shares):
    return summarize(greedy(**shares), rewards)["parts"]


def test_interval_over_seeds_is_that_of_student():
    values = [0.50, 0.58, 0.61, 0.47, 0.55]
    low, high = t.interval(0.95, 4, loc=0.542, scale=0.05718391 / 5**0.5)
    assert over_seeds(values) == pytest.approx((0.542, low, high), abs=1e-6)


def test_one_run_has_no_interval():
    assert over_seeds([0.5]) == (0.5, None, None)


def test_pools_the_last_model_against_the_first():
    (part,) = pool({"s1": parts(base=40, final=60), "s2": parts(base=40, final=70), "s3": parts(base=42, final=66)})
    assert [run["change"] for run in part["runs"]] == pytest.approx([0.2, 0.3, 0.24])
    assert part["after"]["mean"] == pytest.approx((0.6 + 0.7 + 0.66) / 3)
    assert part["change"]["low"] > 0
    text = tables([part], {"s1": 1, "s2": 2, "s3": 3})
    assert "### gsm8k, greedy: 100 rows, right" in text
    assert "| s2 | 2 | 40.0% | 70.0% | +30.0 points |" in text
    assert "- final against base: +24.7 points (range +20 to +30, 95 % over 3 seeds: +12.2 to +37.2)" in text
    assert "cannot show" not in text


def test_says_that_the_seeds_show_no_difference():
    part = pool({"s1": parts(base=40, final=60), "s2": parts(base=40, final=38)})
    assert "- 2 seeds cannot show a difference" in tables(part, {})


def test_pools_means_of_a_reward_without_a_range():
    (part,) = pool({name: parts(WITHOUT_RANGE, base=40, final=60) for name in ("a", "b")})
    assert part["of"] == "mean" and part["change"]["mean"] == pytest.approx(0.4)


def test_leaves_out_rows_that_a_run_did_not_answer():
    other = parts(base=40, final=60)
    other[0]["dataset"] = "math"
    assert pool({"s1": parts(base=40, final=60), "s2": other}) == []


def test_names_keys_that_seeds_do_not_explain():
    first = {"seed": 1, "output_dir": "a", "learning_rate": 1e-6, "trl": {"beta": 0.0}}
    assert different_keys({"a": first, "b": {**first, "seed": 2, "output_dir": "b"}}) == []
    assert different_keys({"a": first, "b": {**first, "trl": {"beta": 0.1}, "bf16": True}}) == ["trl", "bf16"]

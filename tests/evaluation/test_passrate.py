from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.evaluation.passrate import Rate, annotated, band_of, endings, rates_in, rates_of, subset
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import write

REWARD = LoggedReward("r", (0.0, 2.0))
ROWS = [
    Question("a.jsonl", number, {"q": f"{number}+1?"}, {"answer": str(number + 1)}, f"{number}?", [1])
    for number in range(4)
]


def answer(row, score, tokens=10):
    return ScoredAnswer("base", 0, "sampled", "a.jsonl", row, 0, tokens, False, {"r": score}, {"r": ""}, "")


def test_rate_is_the_share_of_right_answers():
    answers = [answer(0, 2.0), answer(0, 0.5, 20), answer(0, None), answer(1, 2.0)]
    assert rates_of(answers, REWARD) == {("a.jsonl", 0): Rate(0.5, 2, 15), ("a.jsonl", 1): Rate(1.0, 1, 10)}


@pytest.mark.parametrize(
    ("rate", "band"),
    [
        (0.0, "impossible"),
        (0.01, "very hard"),
        (0.2, "hard"),
        (0.4, "medium"),
        (0.6, "easy"),
        (0.8, "very easy"),
        (0.99, "very easy"),
        (1.0, "perfect"),
    ],
)
def test_bands_are_those_of_reasoning360(rate, band):
    assert band_of(rate) == band


def test_rows_keep_their_own_columns_and_get_those_of_each_model():
    rates = {
        "base": {("a.jsonl", 0): Rate(0.5, 8, 12.0), ("a.jsonl", 1): Rate(0.0, 8, 9.0)},
        "out/large": {("a.jsonl", 0): Rate(1.0, 8, 30.0)},
    }
    assert annotated(ROWS, rates) == [
        {
            "q": "0+1?",
            "pass_rate": 0.5,
            "n": 8,
            "mean_tokens": 12.0,
            "band": "medium",
            "pass_rate_large": 1.0,
            "n_large": 8,
            "mean_tokens_large": 30.0,
            "band_large": "perfect",
        }
    ]


def test_models_of_one_name_get_columns_of_their_own():
    assert endings(["m", "a/ck", "b/large"]) == ["", "_ck", "_large"]
    assert endings(["m", "a/ck", "b/ck"]) == ["", "_2_ck", "_3_ck"]


def test_rows_of_different_datasets_have_the_same_columns():
    rows = [ROWS[0], ROWS[1]._replace(raw={"q": "1+1?", "level": 3})]
    rates = {"m": {("a.jsonl", number): Rate(0.5, 8, 1.0) for number in (0, 1)}}
    first, second = annotated(rows, rates)
    assert first.keys() == second.keys() and (first["level"], second["level"]) == (None, 3)


def log(folder, **columns):
    count = len(columns["prompt"])
    shared = {"attempt": 1, "step": 1, "rank": 0, "mode": "train", "completion_tokens": 7}
    write(folder, 0, {**{key: [value] * count for key, value in shared.items()}, **columns})
    return rollout_files(folder).counted


def test_rates_of_a_rollout_log_are_found_by_prompt(tmp_path):
    prompts = ["0?", "0?", "0?", "1?", "a prompt of another dataset"]
    errors = [None, None, "boom", None, None]  # a failed score is in the log as the mean of its group
    files = log(tmp_path, prompt=prompts, **{"reward/r": [2.0, 0.0, 2.0, None, 2.0], "error/r": errors})
    assert rates_in(files, ROWS, REWARD) == {("a.jsonl", 0): Rate(0.5, 2, 7)}


def test_refuses_the_completions_of_trl(tmp_path):
    columns = {"step": [1], "prompt": ["0?"], "completion": ["1"], "r": [1.0], "advantage": [0.0]}
    pq.write_table(pa.table(columns), tmp_path / "completions_00001.parquet")
    files = rollout_files(tmp_path).counted
    with pytest.raises(ConfigError, match=r"nor token counts. Name a run with `grpo_rollouts: true`"):
        rates_in(files, ROWS, REWARD)


@pytest.fixture(scope="module")
def banded():
    shares = {"hard": 600, "medium": 300, "easy": 100}
    bands = [band for band, count in shares.items() for _ in range(count)]
    return [{"row": n, "band": band, "mean_tokens": n % 100} for n, band in enumerate(bands)]


def test_subset_keeps_the_share_of_each_stratum(banded):
    chosen = subset(banded, 100, ["band"], seed=1)
    assert Counter(row["band"] for row in chosen) == {"hard": 60, "medium": 30, "easy": 10}
    assert [row["row"] for row in chosen] == sorted(row["row"] for row in chosen)
    by_length = Counter(
        sum(row["mean_tokens"] >= third for third in (33, 66))
        for row in subset(banded, 100, ["band", "length"], seed=1)
    )
    assert all(32 <= count <= 35 for count in by_length.values())


def test_subset_of_small_strata_is_drawn_and_keeps_the_share_of_a_large_one():
    rows = [{"row": n, "kind": min(n, 40), "mean_tokens": 1} for n in range(100)]
    chosen = [{row["row"] for row in subset(rows, 60, ["kind"], seed)} for seed in range(20)]
    large = sum(len([row for row in each if row >= 40]) for each in chosen) / len(chosen)
    assert 34 < large < 38
    assert len({frozenset(each) for each in chosen}) == 20


def test_subset_depends_on_the_seed_only(banded):
    assert subset(banded, 50, ["band"], 1) == subset(banded, 50, ["band"], 1)
    assert subset(banded, 50, ["band"], 1) != subset(banded, 50, ["band"], 2)
    assert subset(banded, 5000, ["band"], 1) == banded

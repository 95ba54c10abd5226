import os
from itertools import chain
from pathlib import Path

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Transform, Unreadable, read
from axolotl_grpo_plugin.evaluate.benchmarks import benchmark, names
from axolotl_grpo_plugin.load import RewardRef, load_reward
from tests.conftest import refused, write_rows

# Rows with the columns of the hub's datasets.
MATH_500 = {"problem": "Convert $(0,3)$.", "solution": "...", "subject": "Precalculus", "level": 2}
MATH_500 |= {"answer": r"\left( 3, \frac{\pi}{2} \right)", "unique_id": "test/precalculus/807.json"}
AIME_24 = {"id": 60, "problem": "How many?", "solution": "...", "answer": "033", "year": "2024"}
AIME_25 = {"problem": "Find the sum of all bases.", "answer": "70", "id": "0"}


def rows(made):
    cfg = {"rl": "grpo", "datasets": [made.entry]}
    transform = Transform(made.source, Config(cfg), tokenizer=None)
    batches = read(made.source, Config(cfg))
    return [row for batch in batches for row in chain(*transform(batch))]


def score(made, completion, row):
    reward = load_reward(RewardRef(made.reward))
    columns = {name: row.get(name) for name in (*reward.spec.reads, *reward.spec.may_read)}
    return reward.score(completion, **columns).value / reward.highest


def test_gsm8k_test_file_gives_all_prompts_and_pays_each_gold_answer():
    folder = os.environ.get("GSM8K_DIR")
    if not folder:
        pytest.skip("set GSM8K_DIR to a folder with GSM8K's train.jsonl and test.jsonl")
    made = benchmark("gsm8k", str(Path(folder, "test.jsonl")))
    prompts = rows(made)
    assert len(prompts) == 1319
    assert all(score(made, f"<answer>{row['answer']}</answer>", row) == 1 for row in prompts)
    assert not any(score(made, f"<answer>{row['answer']}1</answer>", row) for row in prompts)


@pytest.mark.parametrize(
    "name, row, answer", [("math500", MATH_500, r"(3, \pi/2)"), ("aime24", AIME_24, "33"), ("aime25", AIME_25, "70")]
)
def test_math_benchmark_asks_the_problem_and_pays_its_answer(tmp_path, name, row, answer):
    made = benchmark(name, str(write_rows(tmp_path / "rows.jsonl", [row])))
    (prompted,) = rows(made)
    assert prompted["prompt"][-1] == {"role": "user", "content": row["problem"]}
    assert score(made, rf"So it is \boxed{{{answer}}}.", prompted) == 1
    assert score(made, r"So it is \boxed{69}.", prompted) == 0


def test_countdown_is_offline_and_pays_a_solution():
    made = benchmark("countdown")
    prompts = rows(made)
    assert len(prompts) == 200
    row = next(row for row in prompts if sum(row["nums"]) == row["target"])
    assert score(made, f"<answer>{' + '.join(map(str, row['nums']))}</answer>", row) == 1


def test_unknown_name_lists_the_benchmarks():
    with refused("unknown-benchmark", ", ".join(names())):
        benchmark("humaneval")


def test_missing_data_file_is_one_line(tmp_path):
    with pytest.raises(Unreadable) as error:
        rows(benchmark("gsm8k", str(tmp_path / "none.jsonl")))
    assert str(error.value).startswith(f"benchmark gsm8k ({tmp_path / 'none.jsonl'}): no such file")

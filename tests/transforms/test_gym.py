import json

import pytest

from axolotl_grpo_plugin import gym
from axolotl_grpo_plugin.rewards.gym import read_entry
from axolotl_grpo_plugin.transforms import gym as module
from axolotl_grpo_plugin.transforms.gym import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

SUMS = {"task": "chain_sum", "size": 3, "seed": 1, "config": {"max_terms": 2}}
METADATA = {"source_dataset": "gcd", "source_index": 0, "result": 4}
PROBLEM = {"question": "gcd?", "answer": "4", "metadata": METADATA}


def test_row_with_a_task_becomes_problems():
    """Rows may also be problems. They keep their order. Only a task must be named."""
    # datasets gives a row None for the options that only other rows have.
    default = {"task": "lcm", "size": None, "seed": None, "config": None}
    two = {"task": "lcm", "size": 2, "seed": 0, "config": {"max_terms": None}}
    made = run(gym, SUMS, PROBLEM, two, default)
    assert set(made) == {"prompt", "entry", "data_source"}
    tasks = [source.removeprefix("reasoning_gym/") for source in made["data_source"]]
    assert tasks == ["chain_sum"] * 3 + ["gcd"] + ["lcm"] * 502
    assert made["entry"][4:6] == made["entry"][6:8]
    entries = list(map(read_entry, made["entry"]))
    assert entries[0].metadata["source_dataset"] == "chain_sum"
    assert entries[0].config == {"max_terms": 2} and entries[4].config == {}
    assert all(entry.metadata["num_terms"] == 2 for entry in entries[:3])
    asked = entries[0].question
    assert made["prompt"][0] == [{"role": "user", "content": f"{SYSTEM_PROMPT}\n\n{asked}"}]
    assert len({entry.question for entry in entries[:6]}) == 6


@pytest.mark.slow  # two processes import reasoning-gym
def test_problems_are_the_same_in_every_process(monkeypatch):
    """Without a fixed hash seed, reasoning-gym makes different problems of these tasks."""
    tasks = ["isomorphic_strings", "polynomial_multiplication"]
    specs = [{"task": task, "size": 3, "seed": seed} for seed in (5, 6) for task in tasks]
    made = []
    for seed in "12":
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        made.append(run(gym, *specs))
    assert made[0] == made[1]
    assert not set(made[0]["entry"][:6]) & set(made[0]["entry"][6:])


def test_reads_rows_that_are_problems():
    as_text = {**PROBLEM, "metadata": json.dumps(METADATA)}
    made = run(gym, PROBLEM, as_text, {**PROBLEM, "answer": None})
    entries = list(map(read_entry, made["entry"]))
    assert entries[0] == entries[1] and entries[0].metadata == METADATA
    assert entries[2].answer is None
    assert made["data_source"] == ["reasoning_gym/gcd"] * 3


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "row, message",
    [
        ({"task": "composite"}, r"'composite': reasoning-gym has no such task. Valid names: ab, acre, "),
        ({**SUMS, "config": {"max_terms": 0}}, r"refuses it: AssertionError: "),
        ({**SUMS, "config": "hard"}, r'"config" is not an object of options: \'hard\''),
        ({"question": "q", "answer": "a", "metadata": None}, r"neither a task nor a problem"),
        ({"question": "q", "answer": "a", "metadata": "{"}, r"neither a task nor a problem"),
        ({"question": "q", "answer": 3, "metadata": {"source_dataset": "x"}}, r"neither a task"),
        ({"question": None, "answer": "3", "metadata": {"source_dataset": "x"}}, r"neither a task"),
        ({"problem": "q"}, r"neither a task nor a problem of reasoning-gym: {'problem'"),
    ],
)
def test_bad_row_is_named(row, message):
    with pytest.raises(DatasetError, match=r"datasets\[0\] \(a.jsonl\).*" + message):
        run(gym, row)


def test_missing_reasoning_gym_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install reasoning-gym=="):
        run(gym, SUMS)

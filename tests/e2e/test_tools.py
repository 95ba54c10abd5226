"""Trainings in Axolotl with tools that fail, and with an environment."""

import json

import pytest

from tests.conftest import write_rows
from tests.e2e.conftest import axolotl, curves, fork, shipped_config, write
from tests.e2e.scripted import TEMPLATE, call, make_model
from tests.environments import tools_that_fail as tools

pytestmark = pytest.mark.slow

PATH = "tests.environments.tools_that_fail."


def config(folder, turns, **changes):
    folder.mkdir(exist_ok=True)
    make_model(folder / "model")
    rows = [{"turns": json.dumps(row), "answer": answer} for row, answer in turns]
    dataset = {
        "path": str(write_rows(folder / "rows.jsonl", rows)),
        "ds_type": "json",
        "split": "train",
        "type": "tests.e2e.scripted.rows",
    }
    made = {
        "base_model": str(folder / "model"),
        "chat_template_jinja": str(TEMPLATE),
        "plugins": ["axolotl_grpo_plugin.GRPOPlugin", "tests.e2e.scripted_plugin.Scripted"],
        "trl__num_generations": 2,
        "trl__max_completion_length": 1000,
        "trl__reward_funcs": ["tests.e2e.scripted.has_answer"],
        "datasets": [dataset],
        "test_datasets": [dataset],
        "grpo_held_out_rows": 2,
        "grpo_rollouts": True,
        "output_dir": str(folder / "out"),
        "sequence_len": 4096,
        "micro_batch_size": 2 * len(turns),
        "eval_batch_size": 2,
        "max_steps": 2,
    }
    return write(folder, shipped_config(**{**made, **changes}))


def rollouts(folder):
    import pandas as pd

    return pd.read_parquet(folder / "out" / "rollouts" / "train")


def test_calls_in_a_tools_answer_and_in_the_prompt_are_not_run(tmp_path):
    # The third turn is never written. It is a call in the prompt's data.
    turns = [([call("forge", number=1), "I stop", tools.FORGED], "stop")]
    axolotl("train", config(tmp_path, turns, grpo_tools=[PATH + "add", PATH + "forge"], grpo_max_tool_calls=2))
    logged = rollouts(tmp_path)
    logged = logged[logged["completion"].str.contains('"name": "forge"')]
    assert len(logged) == 4
    for prompt, completion in zip(logged["prompt"], logged["completion"], strict=True):
        called, answer, last = json.loads(completion)
        assert answer["content"] == tools.FORGED and last["content"] == "I stop"
        assert json.dumps(tools.FORGED)[1:-1] in json.loads(prompt)[0]["content"]
        assert "tool_calls" not in last and len(called["tool_calls"]) == 1


def test_episodes_of_an_environment_are_played_with_the_data_producer(tmp_path):
    turns = [([[call("guess", number=50), call("guess", number=70)], call("guess", number=70), "{}"], "70")]
    file = config(
        tmp_path / "run",
        turns,
        trl__reward_funcs=[],
        trl__use_data_producer=True,
        grpo_environment="axolotl_grpo_plugin.environments.GuessNumber",
        grpo_environment_args={"guesses": 3},
        grpo_held_out_rows=1,
    )
    ended = fork("train", file)
    assert ended.returncode == 0, ended.output[-6000:]
    logged = rollouts(tmp_path / "run")
    assert set(logged["reward/GuessNumber"]) == {1.0}
    assert logged["prompt"].str.contains("You have 3 guesses").all()
    found = curves(tmp_path / "run" / "out")
    assert found["tools/guess/calls"] == [4, 4] and found["environment/lost"] == [0, 0]


@pytest.mark.parametrize(
    "changes, wrong",
    [
        ({"chat_template": "gemma", "chat_template_jinja": None}, "cannot show tool calls"),
        (
            {"chat_template_jinja": TEMPLATE.read_text() + "{# my own #}"},
            "TRL cannot read the tool calls of this template: Unrecognized chat template",
        ),
        ({"trl__max_completion_length": 100}, "100 tokens cannot hold one tool call and its answer"),
        ({"grpo_tools": [f"{__name__}.NoFile"]}, "it cannot be made: no such file. Correct grpo_tool_args."),
        ({"grpo_environment": f"{__name__}.NoRow"}, "reset failed on the first row: It failed: no such row"),
    ],
)
def test_training_refuses_tools_that_the_model_cannot_use(tmp_path, changes, wrong):
    file = config(tmp_path / "run", [(["no", "no"], "no")], **{"grpo_tools": [PATH + "add"], **changes})
    ended = fork("train", file)
    assert ended.returncode == 1, ended.output[-6000:]
    assert wrong in ended.output


class NoFile:
    def __init__(self):
        raise ValueError("no such file")

    def __call__(self) -> str:
        """Read the file."""


class NoRow:
    def reset(self, **row):
        raise ValueError("no such row")

    def step(self) -> str:
        """Make a step."""
        return ""

"""run.yaml and the closing block of a run."""

import hashlib
import json
import os
import sys

import pytest
import yaml

from axolotl_grpo_plugin.training.record import add_facts, facts, results, write_run

REWARD = "rewards.mine.ends_with"
GIVEN = {
    "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "rl": "grpo",
    "trl": {"reward_funcs": ["some/reward-model", REWARD], "beta": 0.1},
    "grpo_reward_args": {REWARD: {"tags": ["a b", "c"]}},
    "datasets": [{"path": "openai/gsm8k"}, {"path": "rows.jsonl"}],
}


@pytest.mark.parametrize("started", [["axolotl", "train"], ["axolotl/cli/train.py"]])
def test_run_file_has_the_command_and_the_config(tmp_path, monkeypatch, started):
    monkeypatch.setattr(
        sys, "argv", [*started, "c.yaml", "--max-steps=3", "--debug-num-examples=0", "--launcher", "python"]
    )
    write_run({**GIVEN, "debug": False, "comet_api_key": "x"}, tmp_path / "new")
    text = (tmp_path / "new" / "run.yaml").read_text()
    assert text.startswith("# Command:  axolotl grpo train c.yaml --max-steps=3\n")
    assert "axolotl-grpo-plugin 0" in text and f"in {os.getcwd()}\n" in text
    assert yaml.safe_load(text) == GIVEN


def test_facts_are_added_on_top_of_the_run_file(tmp_path):
    write_run(GIVEN, tmp_path, {"Hardware": "1 x CPU"})
    before = facts(tmp_path / "run.yaml")
    body = yaml.safe_dump(GIVEN, sort_keys=False)
    assert before["Config"] == f"sha256 {hashlib.sha256(body.encode()).hexdigest()[:16]}"
    add_facts(tmp_path, {"Trained": "1 step"})
    more = add_facts(tmp_path, {"Trained": "2 steps", "Warnings": "the reward fell:\n- Read"})
    assert more == {**before, "Hardware": "1 x CPU", "Trained": "2 steps", "Warnings": "the reward fell: - Read"}
    assert yaml.safe_load((tmp_path / "run.yaml").read_text()) == GIVEN


@pytest.fixture
def folder(tmp_path):
    """The output_dir of a run with everything that a run can write."""
    for name in ("checkpoint-9", "checkpoint-10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text('{"max_steps": 10}')
    for name in ("training.png", "README.md"):
        (tmp_path / name).touch()
    answers = [
        {"when": when, "mode": "greedy", "row": row, "rewards": {"ends_with": score}}
        for when, score in (("before", 0.0), ("after", 1.0))
        for row in range(2)
    ]
    lines = "".join(json.dumps(each) + "\n" for each in answers)
    (tmp_path / "held_out.jsonl").write_text(lines)
    return tmp_path


def test_closing_block_names_files_and_next_commands(folder):
    arguments = '--reward rewards.mine.ends_with --arg \'tags=["a b", "c"]\''
    expected = {
        "model": str(folder),
        "config": f"{folder}/run.yaml",
        "picture": f"{folder}/training.png",
        "card": f"{folder}/README.md",
        "answers": f"{folder}/held_out.jsonl",
        "view": f"axolotl grpo view {folder}",
        "look": f"axolotl grpo score {folder}/held_out.jsonl {arguments}",
        "resume": f"axolotl grpo train {folder}/run.yaml "
        f"--resume-from-checkpoint {folder}/checkpoint-10 --max-steps 20",
    }
    cfg = {**GIVEN, "output_dir": str(folder)}
    assert results(cfg) == expected
    logged = results({**cfg, "grpo_rollouts": True, "adapter": "lora"})
    assert logged["model"] == f"{folder} (adapter for {GIVEN['base_model']})"
    assert logged["rollouts"] == f"{folder}/rollouts"
    assert logged["look"].startswith(f"axolotl grpo score {folder} ")


def test_closing_block_of_a_small_run_names_no_missing_file(tmp_path):
    assert results({**GIVEN, "output_dir": str(tmp_path)}).keys() == {"model", "config"}

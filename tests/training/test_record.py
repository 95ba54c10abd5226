"""run.yaml, the closing block and the model card of a run."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
import yaml

from axolotl_grpo_plugin.training.card import write_card
from axolotl_grpo_plugin.training.record import results, write_run

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
    monkeypatch.setattr(sys, "argv", [*started, "c.yaml", "--max-steps=3"])
    write_run({**GIVEN, "debug": False, "comet_api_key": "x"}, tmp_path / "new")
    text = (tmp_path / "new" / "run.yaml").read_text()
    assert text.startswith("# Command:  axolotl grpo train c.yaml --max-steps=3\n")
    assert "axolotl-grpo-plugin 0" in text and f"in {os.getcwd()}\n" in text
    assert yaml.safe_load(text) == GIVEN


@pytest.fixture
def folder(tmp_path):
    """The output_dir of a run with everything that a run can write."""
    for name in ("checkpoint-9", "checkpoint-10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text('{"max_steps": 10}')
    (tmp_path / "training.png").touch()
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


@pytest.fixture
def trainer(folder):
    history = [{"rewards/ends_with/mean": score} for score in (0.25, None, 0.75)]
    return SimpleNamespace(
        args=SimpleNamespace(output_dir=str(folder), generation_batch_size=32, max_completion_length=64),
        hub_model_id=None,
        is_world_process_zero=lambda: True,
        num_generations=8,
        reward_func_names=["ends_with"],
        state=SimpleNamespace(global_step=10, log_history=history),
        train_dataset=[{"prompt": [{"role": "user", "content": "9 + 9?"}]}],
    )


def test_model_card_names_base_model_data_rewards_and_numbers(trainer, folder):
    write_card(trainer, {**GIVEN, "adapter": "lora"}, {"ends_with": 1.0}, model_name="x")
    card = (folder / "README.md").read_text()
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "base_model": GIVEN["base_model"],
        "datasets": ["openai/gsm8k"],
        "library_name": "peft",
        "model_name": folder.name,
        "tags": ["generated_from_trainer", "axolotl", "trl", "grpo"],
    }
    assert f"A lora adapter of `{GIVEN['base_model']}`" in text
    assert "trained on `openai/gsm8k` and `rows.jsonl` by GRPO" in text
    assert "10 steps of\n4 prompts x 8 completions" in text
    assert "| ends_with | greedy | 0.00 | 1.00 | +1.00 ± 0.99 |" in text
    assert "![Training curve](training.png)" in text
    assert 'prompt = [{"role": "user", "content": "9 + 9?"}]' in text
    assert "None" not in text


def test_model_card_without_held_out_rows_has_the_means_in_training(trainer, folder):
    (folder / "held_out.jsonl").unlink()
    write_card(trainer, {**GIVEN, "base_model": "./mine"}, {})
    card = (folder / "README.md").read_text()
    assert "| ends_with | 0.25 | 0.75 |" in card
    assert "base_model:" not in card and "`./mine`, trained on" in card

"""The card of a run: facts, results, samples and the metadata for the hub."""

import os
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.record import HELD_OUT, facts, results, write_run
from tests.conftest import Later
from tests.training.test_record import GIVEN
from tests.viewer.data import FIRST, write_held_out

card, health = Later("axolotl_grpo_plugin.training.card"), Later("axolotl_grpo_plugin.training.health")


@pytest.fixture
def folder(tmp_path):
    """The output_dir of a run with held-out answers."""
    (tmp_path / "training.png").touch()
    write_held_out(tmp_path, [0.0] * 30, [2.0] * 30, {FIRST: [0, 2]})
    return tmp_path


@pytest.fixture
def write(folder):
    """Return a function that writes the card of a run of 10 steps, and returns it."""

    def run(signs=None, **given):
        checked = health.Health(FIRST, {})
        checked.reported |= signs or {}
        logs = [{f"rewards/{FIRST}/mean": score} for score in (0.25, None, 0.75)]
        logs += [{f"reward_errors/{FIRST}": 0.5, "num_tokens": 12345.0}, {"step": 10, "train_runtime": 90.0}]
        trainer = SimpleNamespace(
            args=SimpleNamespace(output_dir=str(folder), generation_batch_size=32, max_completion_length=64),
            callback_handler=SimpleNamespace(callbacks=[checked]),
            hub_model_id=None,
            is_world_process_zero=lambda: True,
            num_generations=8,
            reward_func_names=[FIRST, "layout"],
            state=SimpleNamespace(global_step=10, log_history=logs),
            train_dataset=[{"prompt": [{"role": "user", "content": "9 + 9?"}]}],
        )
        config = {**GIVEN, "test_datasets": [{"path": "pkg://mine/rows.jsonl"}], **given}
        write_run(Config(config), folder, {"Hardware": "8 x NVIDIA H200"})
        card.write_card(trainer, Config(config))
        return (folder / "README.md").read_text()

    return run


def test_names_base_model_data_rewards_and_numbers(write):
    text = write(adapter="lora")
    head = yaml.safe_load(text.split("---\n", 2)[1])
    assert (head["base_model"], head["datasets"]) == (GIVEN["base_model"], ["openai/gsm8k"])
    assert head["tags"] == ["generated_from_trainer", "axolotl", "axolotl-grpo-plugin", "trl", "grpo"]
    assert head["pipeline_tag"] == "text-generation"
    for part in (
        f"A lora adapter of `{GIVEN['base_model']}`",
        "trained on `openai/gsm8k` and `rows.jsonl` by GRPO",
        "10 steps of\n4 prompts x 8 completions",
        "| after | 100.0% (88.6 to 100.0) |",
        "after against before: +100 points",
        "- correctness: 0.00 → 2.00 (",
        "![Training curve](training.png)",
        'prompt = [{"role": "user", "content": "9 + 9?"}]',
        "| Hardware | `8 x NVIDIA H200` |",
        "| Config | `sha256 ",
        "| Trained | `10 steps, 12,345 tokens, 1.5 minutes` |",
    ):
        assert part in text
    assert "None" not in text and os.getcwd() not in text


def test_without_held_out_rows_has_the_means_in_training(write, folder):
    (folder / HELD_OUT).unlink()
    text = write(base_model="./mine")
    assert f"| {FIRST.removesuffix('_reward_func')} | 0.25 | 0.75 |" in text
    assert "base_model:" not in text and "model-index" not in text and "`./mine`, trained on" in text


def test_warnings_are_in_the_card_and_in_the_facts(write, folder):
    text = write({"the reward fell": "2.00 -> 1.00"})
    shown = ["correctness had errors in 1 logged steps, 50.00% of their scores", "the reward fell: 2.00 -> 1.00"]
    assert f"| Warnings | `2: {'; '.join(shown)}` |" in text
    assert facts(folder)["Warnings"] == f"2: {'; '.join(shown)}"
    assert results(Config({**GIVEN, "output_dir": str(folder)}))["warnings"] == f"2, in {folder}/README.md"


def evaluation(share, model="trained", **settings):
    reward = {"right": {"mean": share, "low": 0.5, "high": 1.0}, "mean": {"mean": 1.0, "low": None, "high": None}}
    result = {"model": model, "step": None, "rows": 30, "samples": 1, "rewards": {FIRST: reward}}
    part = {"dataset": "pkg://mine/rows.jsonl", "mode": "greedy", "results": [result], "differences": []}
    return {"settings": {"max_tokens": 32, "stop": (), **settings}, "parts": [part]}


def test_an_evaluation_replaces_the_one_with_the_same_settings(write, folder):
    write()
    file = folder / "README.md"
    assert not card.add_evaluation(file, evaluation(0.1, model="base"), "eval")
    for share in (0.25, 0.75):
        assert card.add_evaluation(file, evaluation(share), "eval")
    card.add_evaluation(file, evaluation(0.5, max_tokens=8), "max_tokens=8")
    found = ModelCard.load(file)
    assert [result.metric_value for result in found.data.eval_results] == [1.0, 0.75, 0.5]  # the first: held-out rows
    assert found.data.eval_results[1].metric_name.startswith("correctness: right, greedy, max_tokens 32, stop () (30")
    assert "25.0%" not in found.text and "| trained | 75.0% (50.0 to 100.0) |" in found.text
    assert found.text.count("## Evaluation") == 2 and "## Training" in found.text


def test_a_card_that_fails_does_not_end_the_run(write, folder, caplog):
    (folder / "README.md").mkdir()
    with pytest.raises(IsADirectoryError):  # there is no card
        write()
    assert "the card of this run could not be written" in caplog.text

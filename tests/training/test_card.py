"""The card of a run: facts, results, samples and the metadata for the hub."""

import json
import os
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from axolotl_grpo_plugin.training.record import facts, write_run
from tests.conftest import Later
from tests.training.test_record import GIVEN
from tests.viewer.data import FIRST, HOSTILE, write_step

pytestmark = pytest.mark.xdist_group("with torch")
card, health = Later("axolotl_grpo_plugin.training.card"), Later("axolotl_grpo_plugin.training.health")


@pytest.fixture
def folder(tmp_path):
    """The output_dir of a run with held-out answers."""
    (tmp_path / "training.png").touch()
    answers = [
        {"when": when, "mode": "greedy", "row": row, "rewards": {FIRST: score}, "reward_ranges": {FIRST: [0, 2]}}
        for when, score in (("before", 0.0), ("after", 2.0))
        for row in range(30)
    ]
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(each) + "\n" for each in answers))
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
        write_run(config, folder, {"Hardware": "8 x NVIDIA H200"})
        card.write_card(trainer, config, model_name="x")
        return (folder / "README.md").read_text()

    return run


def test_names_base_model_data_rewards_and_numbers(write):
    text = write(adapter="lora")
    head = yaml.safe_load(text.split("---\n", 2)[1])
    assert (head["base_model"], head["datasets"]) == (GIVEN["base_model"], ["openai/gsm8k"])
    assert head["tags"] == ["generated_from_trainer", "axolotl", "trl", "grpo"]
    assert f"A lora adapter of `{GIVEN['base_model']}`" in text
    assert "trained on `openai/gsm8k` and `rows.jsonl` by GRPO" in text
    assert "10 steps of\n4 prompts x 8 completions" in text
    assert "| correctness: right | greedy | 0.0% | 100.0% | 88.6% to 100.0% |" in text
    assert "| correctness | greedy | 0.00 | 2.00 | +1.51 to +2.00 |" in text
    assert "![Training curve](training.png)" in text
    assert 'prompt = [{"role": "user", "content": "9 + 9?"}]' in text
    assert "| Hardware | `8 x NVIDIA H200` |" in text and "| Config | `sha256 " in text
    assert "There were no warnings." not in text  # of the log with errors
    assert "| Trained | `10 steps, 12,345 tokens, 1.5 minutes` |" in text
    assert "None" not in text and os.getcwd() not in text


def test_without_held_out_rows_has_the_means_in_training(write, folder):
    (folder / "held_out.jsonl").unlink()
    text = write(base_model="./mine")
    assert f"| {FIRST.removesuffix('_reward_func')} | 0.25 | 0.75 |" in text
    assert "base_model:" not in text and "model-index" not in text and "`./mine`, trained on" in text


def test_warnings_are_in_the_card_and_on_top_of_the_run_file(write, folder):
    text = write({"the reward fell": "2.00 -> 1.00"})
    shown = ["correctness had errors in 1 logged steps, 50.00% of their scores", "the reward fell: 2.00 -> 1.00"]
    assert "\n".join(f"- Warning: {each}" for each in shown) in text
    assert facts(folder / "run.yaml")["Warnings"] == "; ".join(shown)


def test_texts_of_rollouts_stay_inside_their_block(write, folder):
    texts = [*HOSTILE[:4], "```\n# out\n", "~~~\n`````text\n<b>out</b>", "\x1b[31mred"]
    write_step(folder, 3, [(each, each, number % 2, number / 9) for number, each in enumerate(texts)])
    text = write()
    section = text[text.index("## Samples") :]
    tokens = MarkdownIt().parse(section)
    assert [token.type for token in tokens].count("fence") == 5
    assert {token.tag for token in tokens} == {"h2", "p", "", "code"}
    assert "\x1b" not in section and section.index("Best:") < section.index("reward 2.56, advantage +1.06, step 3")
    assert ModelCard(text).text.count("## Samples") == 1


def test_metadata_has_results_that_the_hub_can_read(write):
    (result,) = ModelCard(write()).data.eval_results
    named = (result.dataset_type, result.dataset_name, result.metric_type)
    assert named == ("rows.jsonl", "rows.jsonl", "accuracy")
    assert result.metric_value == 1.0
    assert result.metric_name == "correctness: right, greedy (30 rows, 95 %: 0.886 to 1.000)"


def evaluation(share, model="trained", **settings):
    reward = {"mean": {"mean": 1.0, "low": None, "high": None}, "reasons": {}}
    reward["right"] = {"mean": share, "low": 0.5, "high": 1.0}
    result = {"dataset": "pkg://mine/rows.jsonl", "mode": "greedy", "model": model, "step": None, "rows": 30}
    result |= {"samples": 1, "rewards": {FIRST: reward}, "truncated": 0.0, "tokens": 9.0}
    settings = {"max_tokens": 32, "stop": (), **settings}
    return {"settings": settings, "need": None, "results": [result], "differences": []}


def test_an_evaluation_replaces_the_one_with_the_same_settings(write, folder):
    write()
    file = folder / "README.md"
    assert not card.add_evaluation(file, evaluation(0.1, model="base"), "eval")
    for share in (0.25, 0.75):
        assert card.add_evaluation(file, evaluation(share), "eval")
    found = ModelCard.load(file)
    assert [each.metric_value for each in found.data.eval_results] == [1.0, 0.75]  # the first: held-out rows
    assert found.data.model_name == folder.name
    assert "25.0%" not in found.text and "| trained | 75.0% (50.0 to 100.0) |" in found.text
    assert found.text.count("## Evaluation") == 1 and "## Training" in found.text


def test_an_evaluation_with_other_settings_leaves_the_first_one_in_the_card(write, folder):
    write()
    file = folder / "README.md"
    card.add_evaluation(file, evaluation(0.75), "eval")
    card.add_evaluation(file, evaluation(0.25, max_tokens=8), "max_tokens=8")
    found = ModelCard.load(file)
    assert [result.metric_value for result in found.data.eval_results] == [1.0, 0.75, 0.25]
    assert found.data.eval_results[1].metric_name.startswith("correctness: right, greedy, max_tokens 32, stop () (30")
    assert "| trained | 75.0%" in found.text and "| trained | 25.0%" in found.text


def test_a_card_that_fails_does_not_end_the_run(write, folder, caplog):
    (folder / "held_out.jsonl").write_text("{}\n")
    with pytest.raises(FileNotFoundError):  # there is no card
        write()
    assert "the card of this run could not be written" in caplog.text

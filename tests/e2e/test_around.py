"""What happens around a training: other people's runs, wandb, preprocess, and mistakes."""

import json

import pytest
import yaml

from tests.e2e.conftest import ROOT, axolotl, finish, start

QUICKSTART = ROOT / "axolotl_grpo_plugin" / "quickstart"


def quickstart(**changes):
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            config[outer][inner] = value
        else:
            config[outer] = value
    return config


def write(folder, config):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_an_sft_run_is_left_alone(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 32))
    config = {
        "base_model": str(QUICKSTART / "model"),
        "datasets": [{"path": "rows.jsonl", "ds_type": "json", "type": "chat_template"}],
        "grpo_no_such_key": 1,  # nobody's business outside GRPO
        "output_dir": "out",
        "sequence_len": 64,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_steps": 2,
        "optimizer": "adamw_torch",
        "learning_rate": 1e-4,
        "bf16": False,
        "fp16": False,
        "attn_implementation": "sdpa",
    }
    shown = axolotl("train", write(tmp_path, config), cwd=tmp_path)
    assert "'train_runtime'" in shown  # transformers' own progress output stays
    assert "axolotl-grpo-plugin: " not in shown and "held-out" not in shown
    assert not (tmp_path / "out" / "training.png").exists()


@pytest.mark.seconds(40)
def test_wandb_gets_the_curves_and_the_samples(tmp_path):
    file = write(
        tmp_path, quickstart(max_steps=3, grpo_held_out_rows=8, wandb_project="quickstart")
    )
    own = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    # Not a fork, because wandb makes a folder when it is imported and the first fork deletes it.
    finish(start("train", file, "--launcher", "python", cwd=tmp_path, **own))
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    history = log.read_bytes()
    for name in ("correctness", "int", "strict_format", "soft_format", "xmlcount"):
        assert f"train/rewards/{name}_reward_func/mean".encode() in history
    tables = sorted(log.parent.rglob("completions*.table.json"))
    table = json.loads(tables[0].read_text())
    assert {"prompt", "completion", "correctness_reward_func/reason"} <= set(table["columns"])
    assert len(table["data"]) == 64


def test_preprocess_finds_modules_in_the_working_folder(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def rows(cfg, **_):\n"
        "    def transform(row):\n"
        "        return {'prompt': [{'role': 'user', 'content': row['question']}]}\n"
        "    return transform\n"
        "def reward(prompts, completions, **columns):\n"
        "    return [1.0] * len(completions)\n"
    )
    config = quickstart(trl__reward_funcs=["mine.reward"], dataset_prepared_path="prepared")
    del config["skip_prepare_dataset"], config["test_datasets"], config["grpo_held_out_rows"]
    config["datasets"][0]["type"] = "mine.rows"
    shown = axolotl("preprocess", write(tmp_path, config), cwd=tmp_path)
    assert "Success!" in shown


def row_file(folder, *rows):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "path": "rows.jsonl",
        "ds_type": "json",
        "split": "train",
        "type": "axolotl_grpo_plugin.gsm8k",
    }


GOOD = {"question": "1 + 1?", "answer": "2\n#### 2"}


def no_gold(folder):
    rows = (GOOD, {"question": "2 + 2?", "answer": "4"})
    return {"datasets": [row_file(folder, *rows)]}


def too_long(folder):
    return {"datasets": [row_file(folder, GOOD)], "sequence_len": 40}


def broken_module(folder):
    (folder / "mine.py").write_text("import no_such_package\n")
    return {"trl__reward_funcs": ["mine.reward"]}


MISTAKES = {
    "typo in a key": (
        lambda folder: {"grpo_held_out_row": 8},
        ["config.yaml: grpo_held_out_row: no such key. Did you mean `grpo_held_out_rows`?"],
    ),
    "broken reward": (
        broken_module,
        [
            "trl.reward_funcs[0] (mine.reward): mine cannot be imported, because it imports 'no_such_package'",
            "ModuleNotFoundError: No module named 'no_such_package'",
        ],
    ),
    "no gold": (no_gold, ['row 1, column "answer": no "#### <number>" at its end: \'4\'']),
    "nothing left": (
        too_long,
        ["datasets (rows.jsonl): no row is left", "dropped 1 of 1 rows"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_before_the_model_loads(tmp_path, mistake):
    changes, lines = MISTAKES[mistake]
    file = write(tmp_path, quickstart(**changes(tmp_path)))
    output = axolotl("train", file, cwd=tmp_path, returncode=1)
    assert "Loading weights" not in output
    assert ("Traceback" in output) == (mistake == "broken reward")  # of the module's own error
    for line in lines:
        assert line in output

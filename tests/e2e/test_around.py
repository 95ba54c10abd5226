"""Other runs: SFT, an own reward with wandb, and preprocess."""

import json

from tests.e2e.conftest import ROOT, axolotl, shipped_config, write

QUICKSTART = ROOT / "axolotl_grpo_plugin" / "quickstart"


def test_sft_run_is_left_alone(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 32))
    config = {
        "base_model": str(QUICKSTART / "model"),
        "datasets": [{"path": "rows.jsonl", "ds_type": "json", "type": "chat_template"}],
        "grpo_no_such_key": 1,  # checked in GRPO runs only
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
    printed = axolotl("train", write(tmp_path, config), cwd=tmp_path)
    assert "'train_runtime'" in printed  # transformers' own progress output stays
    assert "axolotl-grpo-plugin: " not in printed and "held-out" not in printed
    assert not (tmp_path / "out" / "training.png").exists()


def test_own_reward_trains_and_wandb_gets_curves_and_samples(tmp_path):
    changes = {"max_steps": 3, "grpo_held_out_rows": 8, "wandb_project": "quickstart"}
    changes |= {"save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path / "out")}
    file = write(tmp_path, shipped_config("quickstart-own-reward", **changes))
    own = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    axolotl("train", file, **own)
    state = json.loads((tmp_path / "out" / "checkpoint-3" / "trainer_state.json").read_text())
    name = "rewards/true_equation_reward_func/mean"
    means = [log[name] for log in state["log_history"] if name in log]
    assert len(means) == 3 and all(0.0 < mean <= 0.5 for mean in means)
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    history = log.read_bytes()
    for name in ("correctness", "int", "strict_format", "soft_format", "xmlcount", "true_equation"):
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
    removed = dict.fromkeys(("skip_prepare_dataset", "test_datasets", "grpo_held_out_rows"))
    changes = {"trl__reward_funcs": ["mine.reward"], "dataset_prepared_path": "prepared"}
    config = shipped_config(**changes, **removed)
    config["datasets"][0]["type"] = "mine.rows"
    printed = axolotl("preprocess", write(tmp_path, config), cwd=tmp_path)
    assert "Success!" in printed

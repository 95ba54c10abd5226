"""Other runs: an own reward with wandb and held-out rows in between, and preprocess."""

import json
from collections import Counter

from tests.e2e.conftest import axolotl, held_out_answers, history, shipped_config, write


def test_own_reward_trains_and_wandb_gets_curves_samples_and_held_out_rows(tmp_path):
    changes = {"max_steps": 3, "grpo_held_out_rows": 8, "grpo_eval_steps": 2, "wandb_project": "quickstart"}
    changes |= {"save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path / "out")}
    changes |= {"trl__log_completions": True, "trl__num_completions_to_print": 0}  # W&B gets TRL's table of samples
    file = write(tmp_path, shipped_config("quickstart-own-reward", **changes))
    own = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    axolotl("train", file, **own)
    name = "rewards/true_equation_reward_func/mean"
    means = [log[name] for log in history(tmp_path / "out", 3)]
    assert len(means) == 3 and all(0.0 < mean <= 0.5 for mean in means)
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    tracked = log.read_bytes()
    for name in ("correctness", "int", "strict_format", "soft_format", "xmlcount", "true_equation"):
        assert f"train/rewards/{name}_reward_func/mean".encode() in tracked
    tables = sorted(log.parent.rglob("completions*.table.json"))
    answers = Counter(answer["model"] for answer in held_out_answers(tmp_path / "out"))
    assert answers == {"before": 16, "step 2": 16, "after": 16}
    assert b"held_out/greedy/correctness_reward_func/right" in tracked
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

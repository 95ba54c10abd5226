from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.checks.batch import Batch, check_batch
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.rehearsal.replace import first, least_gpus, local_rows, replaced, small_batch

CONFIGS = Path(__file__).parents[2] / "configs"
GPU = yaml.safe_load((CONFIGS / "gsm8k/llama-3.2-3b-qlora-2gpu.yaml").read_text())


def changed(**keys):
    return replaced({**GPU, **keys}, "tiny", "Qwen/Qwen2.5-7B-Instruct", Path("/out"))


def test_keeps_data_rewards_adapter_and_schedule():
    keys, _ = changed()
    for key in ("lora_r", "lora_target_linear", "lr_scheduler", "optimizer", "max_grad_norm"):
        assert keys[key] == GPU[key]
    for key in ("reward_funcs", "num_generations", "use_data_producer", "temperature"):
        assert keys["trl"][key] == GPU["trl"][key]
    (entry,) = keys["datasets"]
    assert entry == {**GPU["datasets"][0], "split": "train[:64]"}
    assert keys["test_datasets"][0]["split"] == "test[:8]"


def test_leaves_the_given_config_unchanged():
    before = yaml.safe_dump(GPU)
    changed()
    assert yaml.safe_dump(GPU) == before


@pytest.mark.parametrize(
    ("keys", "key", "value", "line"),
    [
        ({}, "base_model", "tiny", None),
        ({}, "adapter", "lora", "lora in place of qlora"),
        ({}, "load_in_4bit", None, "without load_in_4bit, bf16, tf32"),
        ({}, "vllm", None, "without trl.use_vllm, trl.vllm_mode, trl.vllm_lora_sync"),
        ({"attn_implementation": "flash_attention_2"}, "attn_implementation", "sdpa", "of flash_"),
        ({}, "max_steps", 2, "2, then a checkpoint"),
        ({}, "output_dir", "/out/run", None),
        ({"deepspeed": "a.json"}, "deepspeed", None, "without deepspeed"),
        ({"use_ray": True, "ray_num_workers": 2}, "use_ray", None, "use_ray, ray_num_workers"),
        ({"wandb_project": "mine"}, "wandb_project", None, "without wandb_project"),
        ({"hub_model_id": "a/b"}, "hub_model_id", None, "without hub_model_id"),
        ({"flash_attention": True}, "flash_attention", None, "without flash_attention"),
        ({}, "bf16", False, None),
        ({"optimizer": "paged_adamw_8bit"}, "optimizer", "adamw_torch", "of paged_adamw_8bit"),
        ({"save_strategy": "no"}, "save_steps", 2, None),
        ({"logging_steps": 10}, "logging_steps", 1, None),
        ({"saves_per_epoch": 4}, "saves_per_epoch", None, None),
        ({"test_datasets": None}, "test_datasets", None, None),  # Axolotl refuses an empty list
        ({"grpo_held_out_rows": 9}, "grpo_held_out_rows", 2, None),
        ({"val_set_size": 500}, "val_set_size", 8, None),
        (
            {"plugins": ["a.B", "axolotl.integrations.liger.LigerPlugin"]},
            "plugins",
            ["a.B"],
            "without axolotl.integrations.liger.LigerPlugin",
        ),
    ],
)
def test_replaces_the_parts_of_the_machine_to_rent(keys, key, value, line):
    given, lines = changed(**keys)
    assert given.get(key) == value
    assert line is None or any(line in each for each in lines.values()), lines


def test_leaves_out_reward_models_with_their_weights():
    trl = {**GPU["trl"], "reward_funcs": ["a.b", "org/model"], "reward_weights": [1, 2]}
    keys, lines = changed(trl=trl)
    assert (keys["trl"]["reward_funcs"], keys["trl"]["reward_weights"]) == (["a.b"], [1])
    assert lines["reward models"] == "without org/model"


@pytest.mark.parametrize(
    ("batch", "micro", "completions"),
    [
        (Batch(8, 4, 16, 7), 8, 32),
        (Batch(4, 16, 16, 1), 4, 32),
        (Batch(1, 3, 3, 1), 1, 3),
        (Batch(64, 1, 8, 1), 16, 32),
        (Batch(24, 2, 12, 4), 8, 24),
        (Batch(2, 512, 64, 8, 4096), 2, 64),
    ],
)
def test_small_batch_has_whole_prompt_groups(batch, micro, completions):
    small = small_batch(batch)
    assert (small.micro_batch_size, small.completions // batch.ranks) == (micro, completions)
    cfg = {
        "rl": "grpo",
        "micro_batch_size": small.micro_batch_size,
        "gradient_accumulation_steps": small.gradient_accumulation_steps,
        "trl": {"num_generations": small.num_generations},
    }
    assert not [*check_batch(cfg, 1)]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, "train[:64]"),
        ("test", "test[:64]"),
        ("train[10:]", "train[10:74]"),
        ("train[:8]", "train[:8]"),
        ("train[10:20]", "train[10:20]"),
        ("train[:10%]", "train[:10%]"),
        ("train+test", "train+test"),
    ],
)
def test_cuts_a_split_to_its_first_rows(split, expected):
    assert first(split, 64) == expected


@pytest.mark.parametrize(
    ("cfg", "gpus"),
    [
        ({"bf16": False}, 0),
        ({"bf16": "auto"}, 1),
        ({"trl": {"use_vllm": True, "vllm_mode": "colocate"}}, 1),
        ({"trl": {"use_vllm": True}, "vllm": {"tensor_parallel_size": 2}}, 3),
    ],
)
def test_plans_for_the_fewest_gpus(cfg, gpus):
    assert least_gpus(cfg) == gpus


def test_a_file_replaces_all_datasets_of_one_name():
    options = local_rows(GPU, ["rows.parquet"])
    rows = {"path": "rows.parquet", "ds_type": "parquet", "split": "train"}
    assert options["datasets"] == [{**rows, "type": "axolotl_grpo_plugin.gsm8k"}]
    assert options["datasets"] == options["test_datasets"]
    assert local_rows(GPU, []) == {}


def test_refuses_more_files_than_datasets():
    with pytest.raises(ConfigError, match="2 files for 1 datasets of the hub"):
        local_rows(GPU, ["a.jsonl", "b.jsonl"])

import json

import pytest
import yaml

from axolotl_grpo_plugin.checks.batch import Batch, check_batch
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.rehearsal.overlay import least_gpus, local_rows, merged, overlay_of, small_batch
from tests.e2e.conftest import shipped_config

GPU = shipped_config("gsm8k/llama-3.2-3b-qlora-2gpu")


def changed(**keys):
    cfg = {**GPU, **keys}
    return merged(cfg, overlay_of(Config(cfg), ranks=1))


def test_keeps_data_rewards_adapter_and_schedule():
    before = yaml.safe_dump(GPU)
    keys = changed()
    for key in ("lora_r", "lora_target_linear", "lr_scheduler", "optimizer", "max_grad_norm"):
        assert keys[key] == GPU[key]
    for key in ("reward_funcs", "num_generations", "use_data_producer", "temperature"):
        assert keys["trl"][key] == GPU["trl"][key]
    (entry,) = keys["datasets"]
    assert entry == {**GPU["datasets"][0], "split": "train[:64]"}
    assert keys["test_datasets"][0]["split"] == "test[:8]"
    assert yaml.safe_dump(GPU) == before


@pytest.mark.parametrize(
    "keys, key, value",
    [
        ("", "adapter", "lora"),
        ("", "load_in_4bit", None),
        ("", "vllm", None),
        ("attn_implementation: flash_attention_2", "attn_implementation", "sdpa"),
        ("", "max_steps", 2),
        ("deepspeed: a.json", "deepspeed", None),
        ("{use_ray: true, ray_num_workers: 2}", "ray_num_workers", None),
        ("wandb_project: mine", "wandb_project", None),
        ("hub_model_id: a/b", "hub_model_id", None),
        ("flash_attention: true", "flash_attention", None),
        ("", "bf16", False),
        ("optimizer: paged_adamw_8bit", "optimizer", "adamw_torch"),
        ("save_strategy: 'no'", "save_steps", 2),
        ("logging_steps: 10", "logging_steps", 1),
        ("saves_per_epoch: 4", "saves_per_epoch", None),
        ("test_datasets: null", "test_datasets", None),  # Axolotl refuses an empty list
        ("grpo_held_out_rows: 9", "grpo_held_out_rows", 2),
        ("val_set_size: 500", "val_set_size", 8),
        ("val_set_size: 0.1", "val_set_size", 0.1),
        ("plugins: [a.B, axolotl.integrations.liger.LigerPlugin]", "plugins", ["a.B"]),
    ],
)
def test_replaces_the_parts_of_the_machine_to_rent(keys, key, value):
    keys = yaml.safe_load(keys) or {}
    assert changed(**keys).get(key) == value


def test_two_ranks_keep_an_engine_without_the_parts_of_gpus(tmp_path):
    file = tmp_path / "zero3.json"
    stage = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "zero_hpz_partition_size": 8}
    file.write_text(json.dumps({"zero_optimization": stage, "bf16": {"enabled": True}, "gradient_clipping": "auto"}))
    cfg = {**GPU, "deepspeed": str(file)}
    assert merged(cfg, overlay_of(Config(cfg), ranks=2))["deepspeed"] == {
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
        "gradient_clipping": "auto",
    }
    fsdp = {"offload_params": True, "cpu_ram_efficient_loading": True, "reshard_after_forward": True}
    cfg = {**GPU, "fsdp_version": 2, "fsdp_config": fsdp}
    keys = merged(cfg, overlay_of(Config(cfg), ranks=2))
    assert keys["fsdp_config"] == {**dict.fromkeys(fsdp, False), "reshard_after_forward": True}
    assert keys["fsdp_version"] == 2
    assert not {"fsdp_version", "fsdp_config"} & merged(cfg, overlay_of(Config(cfg), ranks=1)).keys()


def test_leaves_out_vllm_and_reward_models_with_their_weights():
    trl = {**GPU["trl"], "reward_funcs": ["a.b", "org/model"], "reward_weights": [1, 2]}
    keys = changed(trl=trl, grpo_trl_args={"vllm_gpu_memory": 1, "top_k": 2})
    assert (keys["trl"]["reward_funcs"], keys["trl"]["reward_weights"]) == (["a.b"], [1])
    assert not keys["trl"]["use_vllm"] and "vllm_mode" not in keys["trl"]
    assert keys["grpo_trl_args"] == {"top_k": 2}


@pytest.mark.parametrize(
    "batch, micro, completions",
    [
        (Batch(8, 4, 16, 1), 8, 32),
        (Batch(8, 4, 16, 7), 8, 16),
        (Batch(8, 20, 5, 2, 5120), 8, 40),  # whole groups on each rank
        (Batch(6, 12, 16, 2), 6, 24),  # the ranks share a group
        (Batch(8, 3, 16, 2), 8, 16),
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
    assert not [*check_batch(Config(cfg), batch.ranks)]


@pytest.mark.parametrize(
    "cfg, gpus, of_two_ranks",
    [
        ("bf16: false", 0, 0),
        ("bf16: auto", 1, 2),
        ("trl: {use_vllm: true, vllm_mode: colocate}", 1, 2),
        ("{trl: {use_vllm: true}, vllm: {tensor_parallel_size: 2}}", 3, 4),
    ],
)
def test_plans_for_the_fewest_gpus(cfg, gpus, of_two_ranks):
    cfg = yaml.safe_load(cfg) or {}
    assert [least_gpus(Config(cfg), ranks) for ranks in (1, 2)] == [gpus, of_two_ranks]


def test_a_file_replaces_all_datasets_of_one_name():
    options = local_rows(Config(GPU), ["rows.parquet"])
    rows = {"path": "rows.parquet", "ds_type": "parquet", "split": "train"}
    assert options["datasets"] == [{**rows, "type": "axolotl_grpo_plugin.gsm8k"}]
    assert options["datasets"] == options["test_datasets"]
    assert local_rows(Config(GPU), []) == {}


def test_refuses_more_files_than_datasets():
    with pytest.raises(FindingError, match="2 files for 1 datasets"):
        local_rows(Config(GPU), ["a.jsonl", "b.jsonl"])

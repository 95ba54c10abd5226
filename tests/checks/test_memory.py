import json

import pytest

from axolotl_grpo_plugin.checks.memory import GIB, check_memory, least_memory
from axolotl_grpo_plugin.checks.parameters import PUBLIC
from axolotl_grpo_plugin.serving.placement import place

COLOCATE = {"vllm_mode": "colocate"}


def config(model="Qwen2.5-1.5B", trl=None, vllm=None, **keys):
    trl = {"use_vllm": True, "vllm_mode": "server", **(trl or {})}
    cfg = {"base_model": f"Qwen/{model}-Instruct", "rl": "grpo", "trl": trl, "vllm": vllm or {}}
    return {**cfg, "bf16": "auto", **keys}


def bytes_per_parameter(cfg):
    """On each of four training GPUs, beside one that serves."""
    return round(least_memory(cfg, place(cfg, "01234")) * GIB / PUBLIC["Qwen2.5-1.5B"], 3)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 2 + 2 + 4),
        ({"bf16": False}, 4 + 4 + 8),
        ({"optimizer": "adamw_bnb_8bit"}, 2 + 2 + 2),
        ({"optimizer": "paged_adamw_32bit"}, 2 + 2 + 8),
        ({"optimizer": "lion_8bit"}, 2 + 2 + 1),
        ({"optimizer": "adafactor"}, 2 + 2),
        ({"trl": {"beta": 0.1}}, 4 + 2 + 4),
        ({"rl_beta": 0.1}, 4 + 2 + 4),
        ({"trl": {"beta": 0.0}, "rl_beta": 0.1}, 2 + 2 + 4),
        ({"adapter": "lora"}, 2),
        ({"adapter": "lora", "load_in_8bit": True}, 1),
        ({"adapter": "qlora", "load_in_4bit": True}, 0.5),
        ({"deepspeed": "zero1.json"}, 2 + 2 + 3),
        ({"deepspeed": "zero2.json"}, 2 + 0.5 + 3),
        ({"deepspeed": "zero3_bf16.json"}, 0.5 + 0.5 + 3),
        ({"deepspeed": "zero3_bf16_cpuoffload_all.json"}, 0.5 + 0.5),
        ({"fsdp_version": 2, "fsdp_config": {"reshard_after_forward": True}}, 0.5 + 0.5 + 1),
        ({"fsdp_version": 2, "fsdp_config": {"offload_params": True}}, 0),
    ],
)
def test_bytes_per_parameter(keys, expected):
    assert bytes_per_parameter(config(**keys)) == expected


def test_reads_the_stage_from_a_deepspeed_file(tmp_path):
    file = tmp_path / "zero3.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert bytes_per_parameter(config(deepspeed=str(file))) == 2 + 0.5 + 3
    file.write_text("{")  # another check reports this, and the name counts
    assert bytes_per_parameter(config(deepspeed=str(file))) == 0.5 + 0.5 + 3


@pytest.mark.parametrize(
    ("cfg", "gib", "words"),
    [
        (config("Qwen2.5-7B"), 24, "need 56.7 GiB on each training GPU, which has 24 GiB. Train"),
        (config(trl=COLOCATE), 16, "which has 16 GiB, of which vLLM takes 4.8. Train an adapter"),
        (config(trl=COLOCATE), 16, "set trl.vllm_enable_sleep_mode: true"),
        (config(), 24, None),
        (config("Qwen2.5-7B", adapter="lora"), 24, None),
        (config(trl={**COLOCATE, "vllm_enable_sleep_mode": True}), 16, None),
        (config(trl={"beta": []}, vllm={"gpu_memory_utilization": "all"}), 24, None),
    ],
)
def test_reports_weights_and_optimizer_that_do_not_fit(cfg, gib, words):
    placement = place(cfg, "01")
    found = list(check_memory(cfg, placement, least_memory(cfg, placement), gib))
    assert [words in str(each) for each in found] == ([True] if words else [])

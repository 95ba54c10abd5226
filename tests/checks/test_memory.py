import json

import pytest

from axolotl_grpo_plugin.checks.memory import GIB, Memory, check_memory, least_memory
from axolotl_grpo_plugin.checks.parameters import PUBLIC
from axolotl_grpo_plugin.serving.placement import place

COUNT = PUBLIC["Qwen2.5-1.5B"]
COLOCATE = {"vllm_mode": "colocate"}


def config(model="Qwen2.5-1.5B", trl=None, vllm=None, **keys):
    return {
        "base_model": f"Qwen/{model}-Instruct",
        "rl": "grpo",
        "trl": {"use_vllm": True, "vllm_mode": "server", **(trl or {})},
        "vllm": vllm or {},
        "bf16": "auto",
        **keys,
    }


def least(cfg, gpus=2):
    memory = least_memory(cfg, place(cfg, [str(each) for each in range(gpus)]))
    assert isinstance(memory, Memory)
    return memory


def per_parameter(cfg, gpus=2):
    """Bytes per parameter of weights, gradients and optimizer."""
    return tuple(round(part * GIB / COUNT, 3) for part in least(cfg, gpus)[:3])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (2, 2, 4)),
        ({"bf16": False}, (4, 4, 8)),
        ({"optimizer": "adamw_bnb_8bit"}, (2, 2, 2)),
        ({"optimizer": "paged_adamw_32bit"}, (2, 2, 8)),
        ({"optimizer": "lion_8bit"}, (2, 2, 1)),
        ({"optimizer": "adafactor"}, (2, 2, 0)),
        ({"trl": {"beta": 0.1}}, (4, 2, 4)),
        ({"rl_beta": 0.1}, (4, 2, 4)),
        ({"trl": {"beta": 0.0}, "rl_beta": 0.1}, (2, 2, 4)),
        ({"adapter": "lora"}, (2, 0, 0)),
        ({"adapter": "lora", "load_in_8bit": True}, (1, 0, 0)),
        ({"adapter": "qlora", "load_in_4bit": True}, (0.5, 0, 0)),
        ({"deepspeed": "zero1.json"}, (2, 2, 3)),
        ({"deepspeed": "zero2.json"}, (2, 0.5, 3)),
        ({"deepspeed": "zero3_bf16.json"}, (0.5, 0.5, 3)),
        ({"deepspeed": "zero3_bf16_cpuoffload_all.json"}, (0.5, 0.5, 0)),
        ({"fsdp_version": 2, "fsdp_config": {"reshard_after_forward": True}}, (0.5, 0.5, 1)),
        ({"fsdp_version": 2, "fsdp_config": {"offload_params": True}}, (0, 0, 0)),
    ],
)
def test_bytes_per_parameter_on_four_training_gpus(keys, expected):
    assert per_parameter(config(**keys), gpus=5) == expected


def test_reads_the_stage_from_a_deepspeed_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert per_parameter(config(deepspeed=str(file)), gpus=5) == (2, 0.5, 3)
    broken = tmp_path / "zero3.json"
    broken.write_text("{")
    assert per_parameter(config(deepspeed=str(broken)), gpus=5) == (0.5, 0.5, 3)


def test_serving_gpus_share_the_weights():
    assert least(config(trl={"use_vllm": False}), gpus=1).served == 0
    assert least(config()).served == 2 * COUNT / GIB
    assert least(config(vllm={"tensor_parallel_size": 2}), gpus=3).served == COUNT / GIB


def test_memory_line_names_the_parts():
    assert str(least(config())) == (
        "at least 11.5 GiB on a training GPU (weights 2.9, gradients 2.9, optimizer 5.8), "
        "2.9 GiB on a serving GPU (weights)"
    )


def findings(cfg, gib, gpus=2):
    placement = place(cfg, [str(each) for each in range(gpus)])
    memory = least_memory(cfg, placement)
    return [(each.level, str(each)) for each in check_memory(cfg, placement, memory, gib)]


@pytest.mark.parametrize(
    ("cfg", "gib", "level", "words"),
    [
        (config("Qwen2.5-7B"), 24, "error", "do not fit a training GPU of 24 GiB: at least 56.7"),
        (config("Qwen2.5-7B"), 24, "error", "Train an adapter, use an 8-bit optimizer"),
        (config(trl=COLOCATE), 16, "error", "of 16 GiB beside vLLM's 4.8 GiB"),
        (config(trl=COLOCATE), 16, "error", "trl.vllm_enable_sleep_mode: true"),
        (config(vllm={"gpu_memory_utilization": 0.1}), 24, "error", "0.1 of 24 GiB is too little"),
        (config("Mine"), 80, "skipped", "Needs the model's config.json"),
    ],
)
def test_reports_weights_that_do_not_fit(cfg, gib, level, words):
    assert any(each == level and words in line for each, line in findings(cfg, gib))


@pytest.mark.parametrize(
    ("cfg", "gib"),
    [
        (config(), 24),
        (config("Qwen2.5-7B"), None),
        (config("Qwen2.5-7B", adapter="lora"), 24),
        (config(trl={**COLOCATE, "vllm_enable_sleep_mode": True}), 16),
        (config(trl={"beta": []}, vllm={"gpu_memory_utilization": "all"}), 24),
    ],
)
def test_accepts_weights_that_fit(cfg, gib):
    assert findings(cfg, gib) == []

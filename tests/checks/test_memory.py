import json

import pytest

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.memory import GIB, OVERHEAD, Memory, check_memory, estimate
from axolotl_grpo_plugin.checks.shapes import PUBLIC
from axolotl_grpo_plugin.serving.placement import place

SMALL = PUBLIC["Qwen2.5-1.5B"]


def config(model="Qwen2.5-1.5B", trl=None, vllm=None, **keys):
    return {
        "base_model": f"Qwen/{model}-Instruct",
        "rl": "grpo",
        "trl": {
            "use_vllm": True,
            "vllm_mode": "server",
            "max_completion_length": 512,
            **(trl or {}),
        },
        "vllm": {"max_model_len": 800, **(vllm or {})},
        "micro_batch_size": 8,
        "gradient_checkpointing": True,
        "bf16": "auto",
        **keys,
    }


def measure(cfg, gpus=2):
    memory = estimate(cfg, place(cfg, [str(each) for each in range(gpus)]))
    assert isinstance(memory, Memory)
    return memory


def bytes_of(memory, part):
    return round(memory.train[part] * GIB)


def test_full_fine_tuning_on_one_gpu():
    memory = measure(config())
    assert bytes_of(memory, "weights") == bytes_of(memory, "gradients") == 2 * SMALL.parameters
    assert bytes_of(memory, "optimizer") == 4 * SMALL.parameters
    assert bytes_of(memory, "logits") == 8 * 512 * SMALL.vocab * 4 * 2
    assert memory.error == "not measured"
    assert any(
        "[micro_batch_size x completion tokens x vocab]" in each for each in memory.assumptions
    )


def test_what_makes_it_smaller_or_larger():
    full = measure(config())
    logits = full.train["logits"]
    assert measure(config(trl={"temperature": 0.9})).train["logits"] == pytest.approx(1.5 * logits)
    assert measure(config(trl={"use_liger_loss": True})).train["logits"] < 0.5 * logits
    assert (
        bytes_of(measure(config(optimizer="adamw_bnb_8bit")), "optimizer") == 2 * SMALL.parameters
    )
    for beta in ({"trl": {"beta": 0.1}}, {"rl_beta": 0.1}):
        assert bytes_of(measure(config(**beta)), "weights") == 4 * SMALL.parameters
    assert (
        bytes_of(measure(config(trl={"beta": 0.0}, rl_beta=0.1)), "weights") == 2 * SMALL.parameters
    )
    without = measure(config(gradient_checkpointing=False))
    assert without.train["activations"] > 5 * full.train["activations"]


def test_activations_are_of_prompts_that_there_are():
    whole = measure(config(vllm={"max_model_len": 32768})).train["activations"]
    limited = config(vllm={"max_model_len": 32768}, grpo_max_prompt_length=512)
    assert measure(limited).train["activations"] == whole / 32
    placement = place(limited, ["0", "1"])
    counted = estimate(limited, placement, longest=256)
    assert counted.train["activations"] == whole * (256 + 512) / 32768
    assert estimate(config(), placement, longest=700).train == measure(config()).train


def test_the_mend_is_not_set_already():
    ((level, line),) = verdicts(
        config(
            micro_batch_size=4, trl={"max_completion_length": 32}, vllm={"max_model_len": 100000}
        ),
        60,
    )
    assert (level, "gradient_checkpointing" in line) == ("warning", False)
    assert "Lower micro_batch_size" in line


def test_adapters():
    lora = measure(config(adapter="lora", lora_r=16, lora_target_modules=["q_proj", "v_proj"]))
    trained = SMALL.layers * 16 * ((1536 + 1536) + (1536 + 256))
    assert bytes_of(lora, "gradients") == 4 * trained
    assert bytes_of(lora, "optimizer") == 8 * trained
    assert bytes_of(lora, "weights") == 2 * SMALL.parameters + 4 * trained
    qlora = measure(config(adapter="qlora", load_in_4bit=True, lora_r=16, lora_target_linear=True))
    assert qlora.train["weights"] < 0.6 * lora.train["weights"]


@pytest.mark.parametrize(("stage", "weights", "gradients"), [(1, 2, 2), (2, 2, 0.5), (3, 0.5, 0.5)])
def test_zero(tmp_path, stage, weights, gradients):
    """Bytes a parameter on each of four ranks; the 32-bit copy and AdamW's states always sharded."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": stage}}))
    memory = measure(config(deepspeed=str(file)), gpus=5)
    whole = 2 * SMALL.vocab * SMALL.hidden if stage == 3 else 0
    assert bytes_of(memory, "weights") == round(weights * SMALL.parameters) + whole
    assert bytes_of(memory, "gradients") == round(gradients * SMALL.parameters)
    assert bytes_of(memory, "optimizer") == 3 * SMALL.parameters
    assert memory.train == measure(config(deepspeed=f"zero{stage}_bf16.json"), gpus=5).train


def test_a_deepspeed_config_that_is_no_json(tmp_path):
    (tmp_path / "zero3.json").write_text("{")
    broken = measure(config(deepspeed=str(tmp_path / "zero3.json")), gpus=5)
    assert broken.train == measure(config(deepspeed="zero3.json"), gpus=5).train


def test_fsdp_shards_everything():
    memory = measure(config(fsdp_version=2, fsdp_config={"activation_checkpointing": True}), gpus=5)
    whole = 2 * SMALL.vocab * SMALL.hidden
    assert bytes_of(memory, "weights") == SMALL.parameters / 2 + whole
    assert bytes_of(memory, "gradients") == SMALL.parameters / 2
    assert bytes_of(memory, "optimizer") == SMALL.parameters


def test_on_one_line():
    line = str(measure(config()))
    assert line.startswith(
        "about 18.8 GiB on a training GPU (weights 2.9, gradients 2.9, optimizer 5.8,"
    )
    assert "and 3.9 GiB on a serving GPU (weights 2.9, process 1.0, one sequence 0.0)" in line
    assert line.endswith("; error: not measured")


def test_serving():
    memory = measure(config())
    assert round(memory.serve["one sequence"] * GIB) == 800 * 2 * 28 * 2 * 128 * 2
    room = 0.9 * 24 - 2 * SMALL.parameters / GIB - OVERHEAD
    assert memory.sequences(24) == int(room / memory.kv_sequence)
    assert memory.peak(24) == sum(memory.train.values())
    halves = measure(config(vllm={"tensor_parallel_size": 2}), gpus=3)
    assert halves.serve["weights"] == memory.serve["weights"] / 2


def test_colocate_sums_both_and_sleeping_vllm_does_not():
    shared = measure(config(trl={"vllm_mode": "colocate"}), gpus=1)
    trains = sum(shared.train.values())
    assert shared.peak(48) == trains + 0.3 * 48
    asleep = measure(config(trl={"vllm_mode": "colocate", "vllm_enable_sleep_mode": True}), gpus=1)
    assert asleep.peak(24) == trains
    assert trains < asleep.peak(80) < shared.peak(80)


def test_without_vllm_nothing_serves():
    memory = measure(config(trl={"use_vllm": False}), gpus=1)
    assert not memory.serve
    assert memory.sequences(24) == 0
    assert memory.peak(24) == sum(memory.train.values())


def verdicts(cfg, gib, gpus=2):
    placement = place(cfg, [str(each) for each in range(gpus)])
    return [(each.level, str(each)) for each in check_memory(cfg, estimate(cfg, placement), gib)]


BROKEN = [
    (config("Qwen2.5-7B"), 24, "error", "of 24 GiB (estimated, in GiB: weights 14.2"),
    (config("Qwen2.5-7B"), 70, "warning", "Train an adapter, take an 8-bit optimizer"),
    (config(micro_batch_size=64), 48, "warning", "Lower micro_batch_size and raise gradient_acc"),
    (
        config(gradient_checkpointing=False, micro_batch_size=16),
        40,
        "warning",
        "gradient_checkpointing: true",
    ),
    (config(trl={"vllm_mode": "colocate"}), 16, "warning", "vLLM 4.8). Train an adapter"),
    (
        config(sequence_len=800, vllm={"max_model_len": None, "gpu_memory_utilization": 0.2}),
        20,
        "warning",
        "vllm.gpu_memory_utilization",
    ),
    (
        config(vllm={"gpu_memory_utilization": 0.1}),
        24,
        "error",
        "vllm.gpu_memory_utilization",
    ),
    (config("Mine"), 80, "skipped", "needs the model's config.json"),
    (config(trl={"max_completion_length": None}), 80, "skipped", "needs trl.max_completion_length"),
]


@pytest.mark.parametrize(("cfg", "gib", "level", "words"), BROKEN)
def test_broken(cfg, gib, level, words):
    found = verdicts(cfg, gib)
    assert any(each == level and words in line for each, line in found), found


def test_fine():
    assert not verdicts(config(), 48)
    assert not verdicts(config("Qwen2.5-7B"), None)


def test_what_is_no_number_is_axolotls():
    cfg = config(trl={"temperature": "hot", "beta": []}, vllm={"gpu_memory_utilization": "all"})
    assert isinstance(measure(cfg), Memory)
    cfg["micro_batch_size"] = "many"
    assert isinstance(estimate(cfg, place(cfg, ["0", "1"])), Finding)

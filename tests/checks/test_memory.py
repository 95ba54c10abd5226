import json
from functools import partial
from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch
import transformers
import yaml
from torch.utils.checkpoint import checkpoint

from axolotl_grpo_plugin.checks.memory import GIB, check_memory, memory_of
from axolotl_grpo_plugin.checks.parameters import PUBLIC
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.serving.placement import place
from axolotl_grpo_plugin.training.packed_step.model import token_scores
from axolotl_grpo_plugin.training.packed_step.settings import LOGITS_PER_CHUNK

COLOCATE = {"vllm_mode": "colocate"}


def config(model="Qwen2.5-1.5B", trl=None, vllm=None, **keys):
    trl = {"use_vllm": True, "vllm_mode": "server", **(trl or {})}
    cfg = {"base_model": f"Qwen/{model}-Instruct", "rl": "grpo", "trl": trl, "vllm": vllm or {}}
    return {**cfg, "bf16": "auto", **keys}


def bytes_per_parameter(cfg):
    """On each of four training GPUs, beside one that serves."""
    memory = memory_of(Config(cfg), place(Config(cfg), "01234"), None)
    return round(memory.model * GIB / PUBLIC["Qwen2.5-1.5B"].parameters, 3)


@pytest.mark.parametrize(
    "keys, expected",
    [
        ("", 2 + 2 + 4),
        ("bf16: false", 4 + 4 + 8),
        ("optimizer: adamw_bnb_8bit", 2 + 2 + 2),
        ("optimizer: paged_adamw_32bit", 2 + 2 + 8),
        ("optimizer: lion_8bit", 2 + 2 + 1),
        ("optimizer: adafactor", 2 + 2),
        ("trl: {beta: 0.1}", 2 + 4 + 2 + 4),
        ("rl_beta: 0.1", 2 + 4 + 2 + 4),
        ("{bf16: false, rl_beta: 0.1}", 4 + 4 + 4 + 8),
        ("{trl: {beta: 0.0}, rl_beta: 0.1}", 2 + 2 + 4),
        ("adapter: lora", 2),
        ("{adapter: lora, rl_beta: 0.1}", 2),
        ("{adapter: lora, load_in_8bit: true}", 1),
        ("{adapter: qlora, load_in_4bit: true}", 0.5),
        ("deepspeed: zero1.json", 2 + 2 + 3),
        ("deepspeed: zero2.json", 2 + 0.5 + 3),
        ("{deepspeed: zero2.json, rl_beta: 0.1}", 2 + 2 + 0.5 + 3),
        ("deepspeed: zero3_bf16.json", 0.5 + 0.5 + 3),
        ("{deepspeed: zero3_bf16.json, rl_beta: 0.1}", 0.5 + 0.5 + 0.5 + 3),
        ("deepspeed: zero3_bf16_cpuoffload_all.json", 0.5 + 0.5),
        ("{fsdp_version: 2, fsdp_config: {reshard_after_forward: true}}", 0.5 + 0.5 + 1),
        ("{fsdp_version: 2, fsdp_config: {reshard_after_forward: true}, rl_beta: 0.1}", 0.5 + 1 + 0.5 + 1),
        ("{fsdp_version: 2, fsdp_config: {offload_params: true}}", 0),
    ],
)
def test_precision_and_optimizer_set_the_bytes_per_parameter(keys, expected):
    keys = yaml.safe_load(keys) or {}
    assert bytes_per_parameter(config(**keys)) == expected


def test_reads_the_stage_from_a_deepspeed_file(tmp_path):
    file = tmp_path / "zero3.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert bytes_per_parameter(config(deepspeed=str(file))) == 2 + 0.5 + 3
    file.write_text("{")  # another check reports this, and the name counts
    assert bytes_per_parameter(config(deepspeed=str(file))) == 0.5 + 0.5 + 3


def found(cfg, gib):
    return [finding.code for finding in check_memory(memory_of(Config(cfg), place(Config(cfg), "01"), gib), gib)]


@pytest.mark.parametrize(
    "cfg, gib, fits",
    [
        (config("Qwen2.5-7B"), 24, False),
        (config(trl=COLOCATE), 16, False),
        (config(), 24, True),
        (config("Qwen2.5-7B", adapter="lora"), 24, True),
        (config(trl={**COLOCATE, "vllm_enable_sleep_mode": True}), 16, True),
        (config(trl={"beta": []}, vllm={"gpu_memory_utilization": "all"}), 24, True),
    ],
)
def test_reports_weights_and_optimizer_that_do_not_fit(cfg, gib, fits):
    assert found(cfg, gib) == ([] if fits else ["too-little-memory"])


BATCH = {"trl": {"max_completion_length": 1024}, "sequence_len": 1536, "micro_batch_size": 16}


def logits_of(**keys):
    cfg = config("Qwen2.5-3B", **{**BATCH, **keys})
    return memory_of(Config(cfg), place(Config(cfg), "01"), 80).logits * GIB


def test_packed_step_has_one_chunk_of_logits_in_memory():
    assert logits_of() == logits_of(micro_batch_size=1) == LOGITS_PER_CHUNK * 20
    assert logits_of(micro_batch_size=1, trl={"max_completion_length": 100}) == 100 * 151936 * 20


@pytest.mark.parametrize(
    "keys",
    [
        {"grpo_packed_step": False},
        {"torch_compile": True},
        {"processor_type": "AutoProcessor"},
        {"batch_flattening": True},
        {"context_parallel_size": 2},
        {"trainer_cls": "mine.Trainer"},
    ],
    ids=str,
)
def test_steps_that_do_not_pack_have_all_logits_in_memory(keys):
    assert logits_of(**keys) == 16 * 1024 * 151936 * 8


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("chunks", (1, 3))
def test_backward_pass_of_a_chunk_of_logits_takes_twenty_bytes_per_logit(dtype, chunks):
    vocabulary, tokens = 20_000, 50
    head = torch.nn.Linear(8, vocabulary, bias=False, dtype=getattr(torch, dtype))
    head.weight.requires_grad = False
    model = SimpleNamespace(get_output_embeddings=lambda: head, config=transformers.LlamaConfig(vocab_size=vocabulary))
    hidden = torch.randn(chunks * tokens, 8, dtype=head.weight.dtype, requires_grad=True)
    score = partial(token_scores, model, temperature=0.9, compute_entropy=True, entropy_grad=False)
    targets = torch.zeros(tokens, dtype=torch.long)
    with torch.profiler.profile(profile_memory=True) as profile:
        parts = [checkpoint(score, part, targets, use_reentrant=False) for part in hidden.split(tokens)]
        torch.cat([values for values, _ in parts]).sum().backward()
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    peak = max(accumulate(size for _, size in changes))
    assert peak == pytest.approx(20 * tokens * vocabulary, rel=0.02)


def test_logits_and_activations_grow_with_the_micro_batch():
    cfg = config("Qwen2.5-3B", adapter="lora", gradient_checkpointing=True, grpo_packed_step=False, **BATCH)
    memory = memory_of(Config(cfg), place(Config(cfg), "01"), 80)
    half = memory_of(Config({**cfg, "micro_batch_size": 8}), place(Config(cfg), "01"), 80)
    assert (half.logits, half.activations, half.model) == (memory.logits / 2, memory.activations / 2, memory.model)
    kept = memory_of(Config({**cfg, "gradient_checkpointing": None}), place(Config(cfg), "01"), 80)
    sizes = [round(size, 2) for size in (memory.logits, memory.activations, kept.activations)]
    assert sizes == [18.55, 6.89, 126.56]
    assert str(memory).startswith("estimate 31.")


def test_warns_of_a_micro_batch_that_does_not_fit():
    cfg = config("Qwen2.5-3B", adapter="lora", gradient_checkpointing=True, grpo_packed_step=False, **BATCH)
    assert found({**cfg, "grpo_packed_step": None}, 24) == []
    assert found(cfg, 24) == ["tight-memory"]
    assert found({**cfg, "micro_batch_size": 4}, 24) == []
    cfg["trl"]["use_liger_loss"] = True
    assert found(cfg, 24) == []


def test_token_budget_replaces_the_rows_of_a_pass():
    cfg = config("Qwen2.5-3B", adapter="lora", **BATCH)
    activations = []
    for changes in ({"grpo_tokens_per_pass": 4096}, {"grpo_tokens_per_pass": 4096, "micro_batch_size": 1}, {}):
        changed = Config({**cfg, **changes})
        activations.append(memory_of(changed, place(changed, "01"), 80).activations)
    assert activations[0] == activations[1] < activations[2]
    off = Config({**cfg, "grpo_tokens_per_pass": 4096, "grpo_packed_step": False})
    assert memory_of(off, place(off, "01"), 80).activations == activations[2]

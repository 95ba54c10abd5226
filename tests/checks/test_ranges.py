import pytest
import yaml

from axolotl_grpo_plugin.checks.ranges import RANGES, check_ranges
from axolotl_grpo_plugin.config import Config


def rows(lines):
    """Return the key and the value of each line, as YAML reads it."""
    pairs = [line.split(maxsplit=1) for line in lines.split("\n") if line]
    return [(key, yaml.safe_load(value)) for key, value in pairs]


GOOD = [
    {"learning_rate": "1e-6", "num_epochs": 0.5, "max_steps": 1, "logging_steps": 0.1},
    {"warmup_ratio": 0, "weight_decay": 0, "max_grad_norm": 0, "seed": 0, "save_steps": 0.25},
    {"trl": {"beta": 0, "epsilon": 0.2, "epsilon_high": 0.28, "num_iterations": 1, "top_p": 1.0}},
    {"trl": {"min_p": 0, "top_k": 0, "repetition_penalty": 1, "temperature": "0.7"}},
    {"trl": {"use_vllm": True, "top_k": -1}, "vllm": {"port": 65535}},
    {"eval_steps": 0.5, "evals_per_epoch": 0, "adam_beta1": 0, "dataset_num_proc": 0, "micro_batch_size": "8"},
    {"trl": {"vllm_importance_sampling_clip_min": 0.5}, "grpo_stall_timeout": 0},
    {"learning_rate": None, "trl": None, "vllm": "no block", "weight_decay": "no number"},
]
WRONG = rows("""
learning_rate 0
learning_rate -1e-5
learning_rate nan
num_epochs 0
num_epochs -1
max_steps 0
max_steps -1
micro_batch_size 0
gradient_accumulation_steps 0
eval_batch_size -1
trl.num_generations 0
trl.generation_batch_size -2
sequence_len 0
logging_steps 0
save_steps 0
save_total_limit 0
warmup_ratio 5
warmup_ratio -0.1
warmup_steps -1
weight_decay -1
max_grad_norm -1
adam_beta1 9
adam_beta2 -0.9
adam_epsilon 0
adam_beta3 2
cosine_min_lr_ratio 2
cosine_min_lr_ratio -1
cosine_constant_lr_ratio 5
embedding_lr -1
torch_empty_cache_steps 0
ddp_timeout 0
dataloader_num_workers -1
dataloader_prefetch_factor 0
lora_dropout 1.5
seed -1
seed 4294967296
trl.beta -1
trl.beta .inf
trl.epsilon -0.2
trl.epsilon_high -0.2
trl.num_iterations 0
trl.max_completion_length 0
trl.temperature 0
trl.temperature -1
trl.top_p 0
trl.top_p 1.5
trl.top_k -5
trl.top_k -1
trl.min_p 2
trl.min_p -0.1
trl.repetition_penalty 0
trl.entropy_coef -1
trl.num_completions_to_print -1
trl.off_policy_mask_threshold -1
trl.ref_model_mixup_alpha 2
trl.ref_model_sync_steps 0
trl.vllm_server_timeout 0
trl.vllm_server_port 99999
trl.vllm_sync_interval 0
trl.vllm_importance_sampling_clip_min -1
vllm.port 0
vllm.port 65536
vllm.tensor_parallel_size 0
vllm.max_model_len 0
vllm.gpu_memory_utilization 90
vllm.gpu_memory_utilization 0
grpo_trl_args.top_entropy_quantile 2
grpo_trl_args.top_entropy_quantile 0
grpo_trl_args.num_generations_eval 0
grpo_trl_args.router_aux_loss_coef -1
grpo_trl_args.sapo_temperature_neg 0
grpo_trl_args.sapo_temperature_pos -1
grpo_trl_args.vllm_group_port 70000
adam_beta1 1
adam_beta2 1
lora_dropout 1.0
lora_r -1
lora_alpha 0
rl_beta -1
dataset_num_proc -2
eval_steps 0
eval_steps -5
eval_steps 1.5
save_steps 1.5
saves_per_epoch -2
evals_per_epoch -1
trl.prefetch_depth 0
grpo_trl_args.delta -1
grpo_held_out_rows 0
grpo_eval_steps 0
grpo_tokens_per_pass 0
grpo_stop_at 0
grpo_stop_at 90
grpo_max_prompt_length 0
grpo_cpu_threads 0
grpo_dynamic_sampling_rounds 0
grpo_max_tool_calls 0
grpo_show_steps -1
grpo_reward_error_limit .nan
grpo_reward_timeout .inf
grpo_reward_batch_timeout .inf
grpo_reward_memory .inf
grpo_stall_timeout .inf
grpo_max_logprob_difference -1
grpo_max_logprob_difference .inf
trl.vllm_importance_sampling_cap 0
trl.vllm_importance_sampling_clip_max 0
val_set_size -1
vllm.data_parallel_size 0
""")
NOT_WHOLE = rows("""
trl.num_generations eight
trl.num_generations "8"
trl.num_generations 2.5
trl.generation_batch_size x
micro_batch_size x
micro_batch_size 1.5
gradient_accumulation_steps [2]
eval_batch_size x
trl.max_completion_length x
trl.top_k x
seed no number
max_steps 2.5
trl.num_iterations 1.5
max_steps true
grpo_held_out_rows true
trl.beta true
learning_rate false
""")

CLIP = "vllm_importance_sampling_clip"


def config(key, value):
    outer, dot, inner = key.partition(".")
    return {outer: {inner: value}} if dot else {key: value}


@pytest.mark.parametrize("cfg", GOOD)
def test_accepts_values_that_train(cfg):
    assert not [*check_ranges(Config(cfg))]


@pytest.mark.parametrize("key, value", WRONG)
def test_refuses_a_value_that_cannot_work(key, value):
    (finding,) = check_ranges(Config(config(key, value)))
    assert (finding.level, finding.code, finding.where) == ("error", "out-of-range", key)


@pytest.mark.parametrize("key, value", NOT_WHOLE)
def test_refuses_a_value_that_is_no_whole_number(key, value):
    (finding,) = check_ranges(Config(config(key, value)))
    assert (finding.code, finding.where) == ("not-whole", f"{key} ({value!r})")


@pytest.mark.parametrize(
    "cfg, key, level",
    [
        ({"trl": {"epsilon": 0.2, "epsilon_high": 0.1}}, "trl.epsilon_high", "error"),
        ({"trl": {"epsilon_high": 0.1}}, "trl.epsilon_high", "error"),
        ({"trl": {f"{CLIP}_min": 3, f"{CLIP}_max": 2}}, f"trl.{CLIP}_max", "error"),
        ({"trl": {f"{CLIP}_min": 4}}, f"trl.{CLIP}_max", "error"),
        ({"warmup_steps": 500, "max_steps": 150}, "max_steps", "warning"),
    ],
)
def test_reports_an_upper_limit_below_the_lower_one(cfg, key, level):
    (finding,) = check_ranges(Config(cfg))
    assert (finding.where, finding.level) == (key, level)


def test_each_limit_has_a_row():
    assert {*RANGES} <= {key for key, _ in WRONG}

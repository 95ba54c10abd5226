import pytest

from axolotl_grpo_plugin.checks.traps import check_parallel, check_traps
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.paths import resolve_packaged
from tests.checks.found import codes, levels

REWARDS = "axolotl_grpo_plugin.rewards.gsm8k"
SERVER = {"use_vllm": True, "vllm_mode": "server"}
COLOCATE = {"use_vllm": True, "vllm_mode": "colocate"}
PRODUCER = {"use_data_producer": True}
PREFETCH = {"use_data_producer": True, "async_prefetch": True}
SYNC = {"vllm_lora_sync": True}
LORA = {"adapter": "lora", "learning_rate": "1e-5"}
QLORA = {"adapter": "qlora", "load_in_4bit": True, "learning_rate": 1e-5}


def config(trl=None, **keys):
    trl = {"max_completion_length": 512, "num_generations": 8, "temperature": 1.0, **(trl or {})}
    model = "Qwen/Qwen2.5-1.5B-Instruct"
    lora = {"lora_r": 16, "lora_alpha": 32, "lora_target_linear": True}
    return {"base_model": model, "rl": "grpo", "learning_rate": "1e-6", **lora, **keys, "trl": trl}


def rewards(*names):
    return {"reward_funcs": [f"{REWARDS}.{name}_reward_func" for name in names]}


def limit(tokens, **trl):
    return {"max_completion_length": tokens, **trl}


WARNINGS = [
    (config(adapter="lora"), "low-learning-rate"),
    (config(learning_rate="5e-5"), "high-learning-rate"),
    (config(SERVER, **LORA), "merged-adapter"),
    (config({"num_generations": 2}), "two-completions"),
    (config(limit(None)), "no-limit"),
    (config(COLOCATE | limit(None)), "no-limit"),
    (config(COLOCATE | limit(256)), "short-completions"),
    (config(rewards("int", "xmlcount")), "only-format"),
    (config({**rewards("int", "correctness"), "reward_weights": [1.0, 0.0]}), "only-format"),
    (config({"reward_funcs": [f"{REWARDS}.int_reward_func#i"]}), "only-format"),
    (config({"temperature": 0.2}), "low-temperature"),
    (config(rl="gdpo", num_epochs=1), "gdpo-epochs"),
    (config({"skip_zero_advantage_batches": True}), "unread-key"),
    (config(curriculum_sampling=True), "curriculum-shuffled"),
]
ERRORS = [
    (config(SERVER | SYNC, **LORA), "sync-without-producer"),
    (config(SERVER | SYNC | PRODUCER), "no-adapter-to-sync"),
    (config(COLOCATE | SYNC | PRODUCER, **LORA), "no-server-to-sync"),
    (config(SERVER, **QLORA), "quantized-weights"),
    (config(COLOCATE, **QLORA), "quantized-weights"),
    (config(COLOCATE, **LORA, load_in_8bit=True), "quantized-weights"),
    (config(limit(None, loss_type="dr_grpo")), "no-limit"),
    (config({"top_k": 1}), "same-completions"),
    (config(**LORA, lora_r=None), "no-lora-size"),
    (config(**LORA, lora_alpha=0), "no-lora-size"),
    (config(**LORA, lora_target_linear=False), "no-lora-target"),
    (config({"loss_type": "dr-grpo"}), "unknown-loss"),
    (config({"sync_ref_model": True, "beta": 0.0}), "no-reference"),
    (config({"sync_ref_model": True, "beta": 0.1}, **LORA), "no-reference"),
    (config(remove_unused_columns=True), "columns-removed"),
]


@pytest.mark.parametrize(
    "level, cfg, code", [("warning", *row) for row in WARNINGS] + [("error", *row) for row in ERRORS]
)
def test_reports_settings_that_train_badly(level, cfg, code):
    assert levels(check_traps(Config(cfg))) == [(level, code)]


@pytest.mark.parametrize(
    "cfg",
    [
        config(),
        config(SERVER | SYNC | PRODUCER, **LORA),
        config(SERVER | SYNC | PRODUCER, **QLORA),
        config(COLOCATE, **LORA),
        config(**QLORA),
        config(learning_rate=1e-3, base_model="nobody/of-no-known-size"),
        config(limit(96)),
        config({"reward_funcs": [f"{REWARDS}.int_reward_func", "rewards.mine.reward"]}),
        config({"beta": 0.04, "sync_ref_model": True}),
        config(rl="gdpo", max_steps=100),
        config(PREFETCH | {"replay_buffer_size": 8, "skip_zero_advantage_batches": True}),
        config({"skip_zero_advantage_batches": False, "reroll_start_fraction": 1.0}),
        config(curriculum_sampling=True, grpo_trl_args={"shuffle_dataset": False}),
        config({"temperature": "hot", "top_k": [1], "reward_funcs": "x"}, learning_rate="fast"),
    ],
)
def test_accepts_settings_that_train(cfg):
    assert not list(check_traps(Config(cfg)))


def test_practice_models_may_have_high_rates_and_short_completions():
    model = "pkg://axolotl_grpo_plugin/quickstart/model"
    cfg = config(COLOCATE | limit(32), base_model=model, learning_rate="2e-4")
    resolve_packaged(Config(cfg))
    assert not list(check_traps(Config(cfg)))


def test_colocate_needs_whole_groups_of_processes():
    cfg = config(COLOCATE, vllm={"tensor_parallel_size": 2})
    assert codes(check_parallel(Config(cfg), 3)) == ["uneven-parallel"]
    assert not list(check_parallel(Config(cfg), 4))
    assert not list(check_parallel(Config({**cfg, "trl": SERVER}), 3))

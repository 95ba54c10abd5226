import pytest

from axolotl_grpo_plugin.checks.traps import check_parallel, check_traps
from axolotl_grpo_plugin.paths import resolve_packaged

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


def findings(cfg):
    return [(finding.level, str(finding)) for finding in check_traps(cfg)]


def rewards(*names):
    return {"reward_funcs": [f"{REWARDS}.{name}_reward_func" for name in names]}


def limit(tokens, **trl):
    return {"max_completion_length": tokens, **trl}


@pytest.mark.parametrize(
    ("cfg", "level", "words"),
    [
        (config(adapter="lora"), "warning", "learning_rate: 1e-06 suits full fine-tuning"),
        (config(adapter="lora", learning_rate=2e-6), "warning", "an adapter hardly changes"),
        (config(learning_rate="5e-5"), "warning", "learning_rate: 5e-05 suits an adapter"),
        (config(learning_rate="5e-5"), "warning", "Set it to 5e-6 or less"),
        (config(SERVER, **LORA), "warning", "trl.vllm_lora_sync: not set, so each sync merges"),
        (config(SERVER | SYNC, **LORA), "error", "ignores it in the trainer"),
        (config(SERVER | SYNC | PRODUCER), "error", "there is no adapter to sync"),
        (config(COLOCATE | SYNC | PRODUCER, **LORA), "error", "sent to a vLLM server"),
        (config(SYNC | PRODUCER, **LORA), "error", "but this config has none"),
        (config(SERVER, **QLORA), "error", "load_in_4bit: quantized weights cannot be synced"),
        (config(SERVER | PRODUCER, **QLORA), "error", "Set trl.vllm_lora_sync: true"),
        (config(COLOCATE, **QLORA), "error", "Set load_in_4bit: false and adapter: lora"),
        (config(COLOCATE, **LORA, load_in_8bit=True), "error", "load_in_8bit: quantized weights"),
        (config({"num_generations": 2}), "warning", "two completions always have opposite"),
        (config(limit(None)), "warning", "after 20 tokens"),
        (config(COLOCATE | limit(None)), "warning", "until its context is full"),
        (config(limit(None, loss_type="dr_grpo")), "error", "not set"),
        (config(COLOCATE | limit(256)), "warning", "256 tokens cut off"),
        (config(limit(0)), "error", "trl.max_completion_length: 0 is less than 1"),
        (config(rewards("int", "xmlcount")), "warning", "none pays for a right answer"),
        (
            config({**rewards("int", "correctness"), "reward_weights": [1.0, 0.0]}),
            "warning",
            "none pays for a right answer",
        ),
        (config({"reward_funcs": [f"{REWARDS}.int_reward_func#i"]}), "warning", "the layout only"),
        (config({"temperature": 0.2}), "warning", "trl.temperature: at 0.2"),
        (config({"temperature": 0}), "error", "must be above 0"),
        (config({"top_k": 1}), "error", "all completions of a prompt are the same"),
        (config(**LORA, lora_r=None), "error", "lora_r: it is missing. Set it, for example to 16."),
        (config(**LORA, lora_alpha=0), "error", "lora_alpha: 0 is not above 0. Set it, for example to 32."),
        (config(**LORA, lora_target_linear=False), "error", "adapter: no layers are named for the adapter."),
        (config({"loss_type": "dr-grpo"}), "error", "trl.loss_type (dr-grpo): no such loss. Did you mean `dr_grpo`?"),
        (config({"sync_ref_model": True, "beta": 0.0}), "error", "without trl.beta"),
        (config({"sync_ref_model": True, "beta": 0.1}, **LORA), "error", "with an adapter"),
        (config(remove_unused_columns=True), "error", "removes the dataset's columns"),
        (config(SERVER, vllm={"tensor_parallel_size": 0}), "error", "parallel_size: 0 is less"),
        (config(SERVER, vllm={"tensor_parallel_size": -1}), "error", "Set it to 1 or more"),
        (config(SERVER, vllm={"max_model_len": 0}), "error", "vllm.max_model_len: 0 is less"),
        (config(rl="gdpo", num_epochs=1), "warning", "after 1/8 of its epochs"),
        (config(PRODUCER | {"replay_buffer_size": 8}), "warning", "trl.async_prefetch: true"),
        (
            config({"replay_buffer_size": 8, "replay_recompute_logps": False}),
            "warning",
            "trl.replay_buffer_size, trl.replay_recompute_logps: Axolotl 0.21 replays prompt groups only",
        ),
        (
            config(PREFETCH | {"replay_buffer_size": 8, "streaming_partial_batch": True}),
            "warning",
            "only with trl.async_prefetch and whole batches",
        ),
        (config(PREFETCH | {"reroll_start_fraction": 0.5}), "warning", "never draws them again"),
        (config({"reroll_max_groups": 2}), "warning", "trl.reroll_max_groups: it has no effect"),
        (config({"skip_zero_advantage_batches": True}), "warning", "only the trainer of trl.use_data"),
        (
            config(PREFETCH | {"streaming_partial_batch": True}, micro_batch_size=12),
            "error",
            "trl.streaming_min_groups: 1 prompt groups of 8 completions do not fill micro-batches of 12, so Axolotl "
            "0.21 makes smaller ones, and a step trains on fewer completions. Set it to 3,",
        ),
        (config(curriculum_sampling=True), "warning", "only until TRL shuffles them"),
    ],
)
def test_reports(cfg, level, words):
    ((found, line),) = findings(cfg)
    assert (found, words in line) == (level, True), line


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
def test_accepts(cfg):
    assert not findings(cfg)


@pytest.mark.xdist_group("with torch")  # transformers reads the model's size
def test_practice_models_may_have_high_rates_and_short_completions():
    model = "pkg://axolotl_grpo_plugin/quickstart/model"
    cfg = config(COLOCATE | limit(32), base_model=model, learning_rate="2e-4")
    resolve_packaged(cfg)
    assert not findings(cfg)


def test_colocate_needs_whole_groups_of_processes():
    cfg = config(COLOCATE, vllm={"tensor_parallel_size": 2})
    (finding,) = check_parallel(cfg, 3)
    assert finding.where == "vllm.tensor_parallel_size"
    assert finding.what == "2 processes share one vLLM, but 3 is not a multiple of 2"
    assert not list(check_parallel(cfg, 4))
    assert not list(check_parallel({**cfg, "trl": SERVER}, 3))

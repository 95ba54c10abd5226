"""LoRA with vLLM. There is no GPU here, so a recorder stands in for vLLM's engine, and gets the calls of TRL's real sync."""

import hashlib
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from tests.conftest import Later

lora_sync = Later("axolotl_grpo_plugin.repairs.lora_sync")
torch, peft, transformers = Later("torch"), Later("peft"), Later("transformers")

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
}
SIZES = {
    "llama": {**SMALL, "num_key_value_heads": 2},
    "qwen2": {**SMALL, "num_key_value_heads": 2},  # with biases
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 128},  # with Conv1D
    "qwen3_moe": {**SMALL, "num_experts": 4, "moe_intermediate_size": 32},  # with one tensor for all experts
}
LINEAR = {"r": 32, "lora_alpha": 64, "target_modules": "all-linear"}
EXPERTS = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], "target_modules": ["q_proj"]}
# The name of an architecture, and the arguments of peft's LoraConfig.
CASES = {
    "linear layers": ("llama", LINEAR),
    "biases": ("qwen2", {**LINEAR, "target_modules": ["q_proj", "v_proj"], "lora_bias": True}),
    "rslora": ("llama", {**LINEAR, "use_rslora": True}),
    "dora": ("llama", {**LINEAR, "use_dora": True}),
    "modules to save": ("llama", {**LINEAR, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "embeddings": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "tied head": ("llama", {"target_modules": ["lm_head"]}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "experts": ("qwen3_moe", EXPERTS),
}


def change(model, scale):
    """Take a step of training: add noise to all weights that are trained."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += torch.randn_like(weight) * scale


def build(name="linear layers"):
    """Return a small bf16 model with tied embeddings and a LoRA whose matrices are not 0."""
    torch.manual_seed(0)
    kind, lora = CASES[name]
    config = transformers.AutoConfig.for_model(kind, **SIZES[kind], tie_word_embeddings=True)
    whole = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = peft.get_peft_model(whole, peft.LoraConfig(**lora))
    change(model, 0.02)
    return model


def generation(model, mode="colocate", **state):
    """Return TRL's `VLLMGeneration` with a recorder in place of vLLM. `sent` has what vLLM got."""
    from trl.generation.vllm_generation import VLLMGeneration

    class Recorded(VLLMGeneration):
        def _init_vllm(self):
            self.sent, self.llm, self.vllm_client = [], MagicMock(), MagicMock()
            worker = self.llm.llm_engine.model_executor.driver_worker
            worker.model_runner.model.load_weights = self.sent.extend
            self.vllm_client.update_named_params = lambda metadata, tensors: self.sent.extend(tensors)

    state = SimpleNamespace(deepspeed_plugin=None, **state)
    accelerator = SimpleNamespace(state=state, is_main_process=True, device="cpu")
    return Recorded(model, accelerator, None, mode=mode)


def second_sync(model, mode="colocate", **state):
    """Sync twice. Return the names and tensors of the second time."""
    recorded = generation(model, mode, **state)
    recorded.sync_weights()
    recorded.sent.clear()
    recorded.sync_weights()
    return recorded.sent


def base_hash(model):
    tensors = [weight for weight in model.parameters() if not weight.requires_grad]
    return hashlib.sha256(b"".join(weight.view(torch.int16).numpy().tobytes() for weight in tensors)).hexdigest()


def assert_same(got, expected):
    for (name, tensor), (wanted_name, wanted) in zip(got, expected, strict=True):
        assert name == wanted_name
        assert torch.equal(tensor, wanted), name


def merged_once(model, **state):
    """Return the names and tensors of TRL's own sync, copied before it subtracts the adapter again."""
    return [(name, tensor.clone()) for name, tensor in generation(model, **state)._iter_named_params()]


CASES_AND_MODES = [*((name, "colocate") for name in CASES), ("linear layers", "server")]


@pytest.mark.parametrize("case, mode", CASES_AND_MODES)
def test_vllm_gets_what_one_merge_on_a_clean_base_gives(case, mode):
    model = build(case)
    before = base_hash(model)
    lora_sync.keep_base(model)
    assert_same(second_sync(model, mode), merged_once(build(case)))
    assert base_hash(model) == before


@pytest.fixture
def process_group(tmp_path):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def sharded():
    """Return a model under FSDP2."""
    from torch.distributed.fsdp import fully_shard

    model = build()
    model.to(torch.bfloat16)  # FSDP2 takes one dtype
    for layer in model.base_model.model.model.layers:
        fully_shard(layer)
    return fully_shard(model)


def shards(model):
    """Return copies of this rank's frozen weights."""
    return [weight.to_local().clone() for weight in model.parameters() if not weight.requires_grad]


def test_fsdp2_sends_the_same_and_keeps_its_shards(process_group):
    fsdp2 = {"fsdp_plugin": SimpleNamespace(fsdp_version=2)}
    model = sharded()
    before = shards(model)
    expected = merged_once(sharded(), **fsdp2)
    lora_sync.keep_base(model)
    assert_same(second_sync(model, **fsdp2), expected)
    assert all(map(torch.equal, shards(model), before))

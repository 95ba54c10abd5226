"""`python tests/e2e/ranks.py lora_on_ranks.py FOLDER DTYPE`: sync a LoRA from two ranks that share one model.

There is no vLLM: a recorder gets the tensors of TRL's real sync. ENGINE in the environment: a key of sharded.KEYS.
"""

import os
import sys
from pathlib import Path
from unittest.mock import MagicMock

import torch
import transformers.training_args
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.generation.vllm_generation import VLLMGeneration

from axolotl_grpo_plugin.repairs.lora_sync import keep_base
from tests.e2e.gradients import MODEL, trainer_of
from tests.engines import on_ranks
from tests.repairs.test_lora_sync import merged_once

OUT, DTYPE, RANK = Path(sys.argv[1]), getattr(torch, sys.argv[2]), int(os.environ["RANK"])
STEP = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_steps": 1, "save_strategy": "no"}


class Recorded(VLLMGeneration):
    """TRL's sync, with a recorder in place of vLLM. `sent` has copies of what it got."""

    def _init_vllm(self):
        self.sent, self.llm, self.vllm_client = {}, MagicMock(), MagicMock()
        worker = self.llm.llm_engine.model_executor.driver_worker
        worker.model_runner.model.load_weights = self._record

    def _record(self, pairs):
        self.sent |= {name: tensor.detach().clone() for name, tensor in pairs}

    def sync(self):
        """Sync once. Return the tensors by their names."""
        self.sent = {}
        self.sync_weights()
        return self.sent


def merged(model, weights):
    """Return the tensors that TRL sends of these weights on one process, merged once into a clean base."""
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys, left.unexpected_keys
    return dict(merged_once(model))


def same(tensors, others):
    # FSDP2 sends the head beside the embeddings that it is tied to.
    if (head := tensors.pop("lm_head.weight", None)) is not None:
        assert torch.equal(head, tensors["model.embed_tokens.weight"])
    assert tensors.keys() == others.keys(), tensors.keys() ^ others.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == others[name].dtype == DTYPE, name
        assert torch.equal(tensor, others[name]), name


# Before the engine starts, because ZeRO-3 shards each model that transformers loads.
whole = AutoModelForCausalLM.from_pretrained(MODEL, dtype=DTYPE)
alone = get_peft_model(whole, LoraConfig(target_modules=["q_proj", "v_proj"])).to(DTYPE)
settings = {**STEP, **on_ranks.connect(os.environ["ENGINE"])}
if torch.bfloat16 == DTYPE and "deepspeed" in settings:
    # transformers knows no bf16 without a GPU, and DeepSpeed must know the type of its weights.
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    settings |= {"bf16": True, "deepspeed": {**settings["deepspeed"], "bf16": {"enabled": "auto"}}}
trainer = trainer_of(OUT / "run", packed=True, seed=RANK, lora=True, dtype=DTYPE, **settings)
trainer.model.to(DTYPE)  # FSDP2 takes one type
trainer.train()
model = trainer.accelerator.unwrap_model(trainer.model)
before = on_ranks.weights(model)
keep_base(model)
recorded = Recorded(model, trainer.accelerator, None, mode="colocate")
expected = merged(alone, before)
same(recorded.sync(), expected)
same(recorded.sync(), expected)  # a drift of the base would show in the second sync
after = on_ranks.weights(model)
assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
(OUT / f"{RANK}.txt").write_text(f"{trainer.accelerator.distributed_type} {len(expected)}")

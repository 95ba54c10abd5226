"""A server whose weights stay those of the first step: the run says so, and ends.

The server is a model in this process, behind the calls by which TRL uses vLLM. test_serving.py has vLLM itself.
"""

import pytest
import torch

from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.trl import GRPOTrainer
from tests.conftest import MODEL
from tests.e2e import scripted


class Server:
    """A model that writes completions with their log-probabilities, as TRL's `VLLMGeneration` does.

    Args:
        trainer: Sends its weights.
        arrives: Whether the weights arrive.
    """

    def __init__(self, trainer, arrives):
        from transformers import AutoModelForCausalLM

        self.trainer, self.arrives = trainer, arrives
        self.model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()

    def sync_weights(self):
        if self.arrives:
            self.model.load_state_dict(self.trainer.model.state_dict())

    @torch.no_grad()
    def generate(self, prompts, images, num_generations, profiler):
        tokenizer = self.trainer.processing_class
        inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        written = self.model.generate(
            **inputs, do_sample=True, max_new_tokens=32, return_dict_in_generate=True, output_logits=True
        )
        completions, logprobs = [], []
        logits = torch.stack(written.logits, dim=1).log_softmax(-1)
        for ids, scores in zip(written.sequences[:, inputs["input_ids"].shape[1] :], logits, strict=True):
            ends = (ids == tokenizer.eos_token_id).nonzero()
            length = int(ends[0]) + 1 if len(ends) else len(ids)
            completions.append(ids[:length].tolist())
            logprobs.append(scores[range(length), ids[:length]][:, None].tolist())
        return prompts, completions, logprobs, None


def digits(completions, **_):
    """Pay for the digit 1, and a little for the length."""
    texts = [messages[0]["content"] for messages in completions]
    return [text.count("1") + len(text) % 7 / 10 for text in texts]


def train(folder, arrives, highest_gap, steps):
    """Train with the server. Return the check of its health, and the trainer."""
    rows = [
        {"prompt": [{"role": "user", "content": f"Ann has {n} pens and buys {n + 3} more. How many?"}]}
        for n in range(64)
    ]
    trainer = scripted.trainer_of(
        MODEL,
        digits,
        rows,
        kind=GRPOTrainer,
        output_dir=str(folder),
        per_device_train_batch_size=16,
        max_completion_length=32,
        learning_rate=2e-4,
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
    )
    trainer.use_vllm, trainer.vllm_mode, trainer._last_loaded_step = True, "server", -1
    trainer.vllm_generation = Server(trainer, arrives)
    health = Health("digits", {}, highest_gap=highest_gap)
    trainer.add_callback(health)
    return health, trainer


def test_weights_that_never_arrive_are_named_within_five_steps_and_end_the_run(tmp_path, caplog):
    health, trainer = train(tmp_path, arrives=False, highest_gap=0.001, steps=20)
    with pytest.raises(SystemExit, match=r"^axolotl-grpo-plugin: grpo_max_logprob_difference "):
        trainer.train()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "axolotl_grpo_plugin.training.health"]
    assert line.startswith("in the last 5 steps, vLLM's log-probabilities drift away from the trainer's: ")
    assert len(health.reported) == 1 and trainer.state.global_step <= 8


def test_weights_that_arrive_give_no_warning(tmp_path):
    health, trainer = train(tmp_path, arrives=True, highest_gap=0.001, steps=6)
    trainer.train()
    assert not health.reported

from contextlib import suppress

from axolotl.core.trainers.grpo.async_trainer import AsyncGRPOConfig, AsyncGRPOTrainer
from datasets import Dataset

rows = Dataset.from_list([{"prompt": f"{number}"} for number in range(8)])
producer = {"use_data_producer": True, "async_prefetch": True, "reward_weights": [0.25]}
batch = {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 4}
config = AsyncGRPOConfig(
    "out", **producer, **batch, max_steps=2, report_to=[], use_cpu=True, bf16=False
)


def reward(completions, **columns):
    return [1.0] * len(completions)


trainer = AsyncGRPOTrainer(
    "Qwen/Qwen2.5-0.5B-Instruct", reward_funcs=reward, args=config, train_dataset=rows
)
with suppress(TypeError):  # of deferred_scores.py, in the second step
    trainer.train()
print(f"a reward of 1 with the weight 0.25: {trainer._metrics['train']['reward'][-1]}")

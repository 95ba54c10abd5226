from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"  # any model whose answers differ in length


def reward(completions, **columns):
    return [float(len(completion[0]["content"])) for completion in completions]


rows = [{"prompt": [{"role": "user", "content": f"What is {n} + {n}?"}]} for n in range(8)]
batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "num_generations": 8}
config = GRPOConfig("out", **batch, max_steps=1, report_to=[], use_cpu=True, bf16=False)
trainer = GRPOTrainer(MODEL, reward, config, Dataset.from_list(rows))
log_probabilities, masks = trainer._get_per_token_logps_and_entropies, []


def counted(model, ids, mask, *more, **options):
    masks.append(mask)
    return log_probabilities(model, ids, mask, *more, **options)


trainer._get_per_token_logps_and_entropies = counted
trainer.train()
computed, needed = sum(mask.numel() for mask in masks), sum(int(mask.sum()) for mask in masks)
print(f"computed more than needed: {computed > needed}")

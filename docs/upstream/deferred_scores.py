import torch
from trl.trainer.utils import shuffle_sequence_dict

batch = {"completion_ids": torch.arange(8).reshape(4, 2)}
batch["num_items_in_batch"] = 8  # as Axolotl's AsyncGRPOTrainer._generate_only sets it
try:
    shuffle_sequence_dict(batch)
except TypeError as error:
    print(f"TypeError: {error}")

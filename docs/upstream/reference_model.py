from axolotl.loaders import load_tokenizer
from axolotl.train import setup_reference_model
from axolotl.utils.config import normalize_config
from axolotl.utils.dict import DictDefault

cfg = DictDefault(base_model="Qwen/Qwen2.5-0.5B-Instruct", rl="grpo", trl={"beta": 0.0})
sizes = "micro_batch_size gradient_accumulation_steps context_parallel_size tensor_parallel_size sequence_len"
cfg |= dict.fromkeys(sizes.split(), 1)
normalize_config(cfg)
model = setup_reference_model(cfg, load_tokenizer(cfg))
print(f"a reference model for beta 0: {model is not None}")

import os
import signal
from contextlib import suppress

from torch.multiprocessing import start_processes


def rank(number):
    places = {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29541,
    }
    os.environ |= {name: str(value) for name, value in places.items()}
    import deepspeed
    from axolotl.train import setup_signal_handler
    from axolotl.utils.dict import DictDefault
    from transformers import AutoModelForCausalLM
    from transformers.integrations import HfDeepSpeedConfig

    deepspeed.init_distributed("gloo")
    _kept = HfDeepSpeedConfig(
        {"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1}
    )
    model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B-Instruct")
    setup_signal_handler(DictDefault(local_rank=number, output_dir="out"), model)
    if number == 0:
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    from safetensors.torch import load_file

    with suppress(Exception):  # the handler ends the first rank
        start_processes(rank, nprocs=2, start_method="fork")
    tensors = load_file("out/model.safetensors").values()
    print(f"empty tensors: {any(tensor.numel() == 0 for tensor in tensors)}")

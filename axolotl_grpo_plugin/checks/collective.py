"""Sum a tensor over all GPUs of this machine, as training does. torchrun starts it once per GPU.

torchrun --standalone --nproc-per-node 2 -m axolotl_grpo_plugin.checks.collective nccl
"""

import os
import sys
import time
from datetime import timedelta

MIB, REPEATS = 64, 5


def main(backend: str) -> None:
    """Print the GB per second that each GPU sends, from rank 0. Raises what the backend raises."""
    import torch
    from torch import distributed

    rank, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    distributed.init_process_group(backend, timeout=timedelta(seconds=60))
    tensor = torch.ones(MIB << 18, device=device)  # 4 bytes each
    distributed.all_reduce(tensor)  # connects
    if tensor[0].item() != ranks:
        raise ValueError(f"the sum over {ranks} GPUs is {tensor[0].item()}")
    began = time.perf_counter()
    for _ in range(REPEATS):
        distributed.all_reduce(tensor)
    tensor[0].item()  # waits for the GPU
    sent = 2 * (ranks - 1) / ranks * REPEATS * (MIB << 20)  # as nccl-tests count it
    if rank == 0:
        print(f"{sent / (time.perf_counter() - began) / 1e9:.1f}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])

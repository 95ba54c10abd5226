import os

from axolotl.utils.environment import check_cuda_p2p_support

os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": "2"}  # torchrun on a machine without a GPU
try:
    print(check_cuda_p2p_support())
except Exception as error:
    print(f"{type(error).__name__}: {error}")

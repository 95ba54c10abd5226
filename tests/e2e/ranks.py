"""`python tests/e2e/ranks.py SCRIPT ARGUMENTS`: run a script on two ranks, as torchrun does, but import TRL once."""

import os
import runpy
import socket
import sys

from torch.multiprocessing import start_processes

from tests.e2e import gradients  # noqa: F401, TRL's imports take 10 seconds of CPU time

RANKS = 2


def run(rank, port):
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(run, args=(port,), nprocs=RANKS, start_method="fork")

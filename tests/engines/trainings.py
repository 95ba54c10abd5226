"""`python tests/engines/trainings.py LOG`: trainings of two ranks on this machine, after one import of Axolotl.

Each line of standard input is a JSON list, the words after `axolotl train`. The answers are two lines: the process ids
of the ranks when they have started, and their exit codes when they have ended.
"""

import json
import os
import signal
import socket
import sys
import time

from axolotl_grpo_plugin.rehearsal.trainer import preload

RANKS = 2
PATIENCE = 30  # seconds that a rank may live on after another one has failed, as in torchrun


def main():
    answers = os.fdopen(os.dup(1), "w")
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    preload()
    for line in sys.stdin:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        pids = []
        for rank in range(RANKS):
            pid = os.fork()
            if pid == 0:
                answers.close()
                return become(rank, port, json.loads(line))
            pids.append(pid)
        print(json.dumps(pids), file=answers, flush=True)
        print(json.dumps(codes_of(pids)), file=answers, flush=True)


def codes_of(pids):
    """Wait for the ranks, and return their exit codes. A failed one ends the others after a while."""
    codes = {}
    failed_at = None
    while len(codes) < len(pids):
        for pid in pids:
            if pid not in codes and (ended := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(ended[1])
                if codes[pid] and failed_at is None:
                    failed_at = time.monotonic()
        if failed_at and time.monotonic() - failed_at > PATIENCE:
            for pid in pids:
                if pid not in codes:
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return [codes[pid] for pid in pids]


def become(rank, port, words):
    """Train as a rank."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"}
    sys.stdin.close()
    sys.argv = ["axolotl", "train", *words, "--launcher", "python"]
    from axolotl.cli.main import main as train

    train()


if __name__ == "__main__":
    main()

"""`python tests/e2e/forks.py`: import Axolotl once, then fork a process for each `axolotl` command.

Axolotl's imports take 13 seconds of CPU time, three times that through `accelerate launch`. Each line
of standard input is a JSON request `{"argv", "cwd", "env", "output"}`. The answer is a line
`[pid, returncode]`, after the process has ended. A forked process has its own session, and its exit
functions run, also those that the imported modules registered before the fork.
"""

import json
import os
import signal
import sys

from axolotl_grpo_plugin.rehearsal.trainer import preload


def serve():
    """Answer requests until standard input ends. Return in a forked process only."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the imports print
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            answers.close()
            return _become(**request)
        _, status = os.waitpid(pid, 0)
        print(json.dumps([pid, os.waitstatus_to_exitcode(status)]), file=answers, flush=True)
    sys.exit()


def _become(argv, cwd, env, output):
    os.setsid()
    signal.alarm(900)  # ends a run that hangs
    file = os.open(output, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    if wandb := sys.modules.get("wandb.sdk.data_types._private"):
        os.makedirs(wandb.MEDIA_TMP.name, exist_ok=True)  # the end of the first fork deleted it
    if argv[1] == "train":
        sys.path.insert(0, cwd)  # as in `accelerate launch -m`


if __name__ == "__main__":
    # As in the `axolotl` script, whose folder comes first.
    sys.path[0] = os.path.dirname(sys.executable)
    serve()
    from axolotl.cli.main import main

    sys.exit(main())

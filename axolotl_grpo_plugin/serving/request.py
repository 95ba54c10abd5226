"""The trainer's request to the supervisor: start the server of its config, as Axolotl would.

The trainer asks after its checks have passed, because a server boots for a minute or more.
`python -m axolotl_grpo_plugin.serving.request CONFIG FILE OVERRIDES RANKS` asks without a trainer.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from axolotl_grpo_plugin.findings import stop_on
from axolotl_grpo_plugin.serving.address import check_server
from axolotl_grpo_plugin.serving.processes import end_with

# Set by the supervisor for the trainer: the request's file, the supervisor's process id, and whether
# to begin with the canary.
FILE, SUPERVISOR = "AXOLOTL_GRPO_SERVER_REQUEST", "AXOLOTL_GRPO_SUPERVISOR"
CANARY = "AXOLOTL_GRPO_CANARY"


class Request(NamedTuple):
    """A server's command, its extra environment variables, its address, and the run's output_dir.

    pid: of the process that asks. It is the trainer's first rank, which saves the model on SIGINT.
    """

    command: list[str]
    env: dict[str, str]
    host: str
    port: int
    output_dir: str
    pid: int

    def write(self, file: Path) -> None:
        """Write the file in one step, because the supervisor polls for it."""
        part = file.with_suffix(".part")
        part.write_text(json.dumps(self._asdict()))
        part.rename(file)

    @classmethod
    def read(cls, file: Path) -> "Request":
        """Read a request."""
        return cls(**json.loads(file.read_text()))


def request(cfg: Any) -> Request:
    """Return the request of a validated config, made by Axolotl's own `vllm-serve`."""
    from axolotl.cli import vllm_serve

    asked: list[vllm_serve.VllmServeArguments] = []
    # It would load the config again without the command line's overrides, and become the server.
    with patch.multiple(vllm_serve, load_cfg=lambda _: cfg, serve=asked.append):
        vllm_serve.do_vllm_serve("", {})
    (arguments,) = asked
    return Request(
        vllm_serve.build_command(arguments),
        vllm_serve.build_env(arguments, {}),
        arguments.host,
        arguments.port,
        cfg["output_dir"],
        os.getpid(),
    )


def ask_or_check(cfg: Any) -> None:
    """Ask the supervisor for the server, or without one check that a server answers. Call it before the model loads."""
    file = os.environ.get(FILE)
    if not file:
        stop_on(check_server(cfg))
        return
    end_with(int(os.environ[SUPERVISOR]))  # the launcher in between may not end this process
    if os.environ.get("RANK", "0") == "0":
        request(cfg).write(Path(file))


def wait(cfg: Any) -> None:
    """Wait until the supervisor says that the server serves. It ends this process if the server fails."""
    if file := os.environ.get(FILE):
        while not served(Path(file)).exists():
            time.sleep(0.2)
        stop_on(check_server(cfg))


def served(file: Path) -> Path:
    """Return the file beside a request that appears when the server serves."""
    return file.with_suffix(".served")


if __name__ == "__main__":
    from axolotl.cli import config as loading

    _, config, out, overrides, ranks = sys.argv
    here, versions = loading.gpu_capabilities()
    # Axolotl's batch rule counts the trainer's ranks, which are on other machines.
    there = {**here, "n_gpu": int(ranks)}
    with patch.object(loading, "gpu_capabilities", lambda: (there, versions)):
        cfg = loading.load_cfg(config, **json.loads(overrides))
    request(cfg).write(Path(out))

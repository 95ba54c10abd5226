"""The trainer's request to the supervisor: start the server of its config, as Axolotl would.

The trainer writes it after its checks have passed, because a server boots for a minute or more.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.findings import stop_on
from axolotl_grpo_plugin.processes import end_with, is_first_rank
from axolotl_grpo_plugin.serving.address import check_server

# The supervisor sets these variables for the trainer: the path of the request, its own process id.
FILE, SUPERVISOR = "AXOLOTL_GRPO_SERVER_REQUEST", "AXOLOTL_GRPO_SUPERVISOR"
# The command that the user typed, and the keys of the config that `axolotl-grpo train` has added to it.
COMMAND, ADDED = "AXOLOTL_GRPO_COMMAND", "AXOLOTL_GRPO_ADDED"


class Request(NamedTuple):
    """A server's command, its extra environment variables, its address, and the run's output_dir."""

    command: list[str]
    env: dict[str, str]
    host: str
    port: int
    output_dir: str

    def write(self, file: Path) -> None:
        publish(file, json.dumps(self._asdict()))

    @classmethod
    def read(cls, file: Path) -> "Request":
        return cls(**json.loads(file.read_text()))


def publish(file: Path, text: str) -> None:
    """Write a file in one step, because another process polls for it."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.rename(file)


def request(cfg: Config) -> Request:
    """Return the request of a validated config, made by Axolotl's own `vllm-serve`."""
    from axolotl.cli import vllm_serve

    calls: list[vllm_serve.VllmServeArguments] = []
    # Without the patch, it would load the config again without overrides, and become the server.
    with patch.multiple(vllm_serve, load_cfg=lambda _: cfg.raw, serve=calls.append):
        vllm_serve.do_vllm_serve("", {})
    (arguments,) = calls
    return Request(
        vllm_serve.build_command(arguments),
        vllm_serve.build_env(arguments, {}),
        arguments.host,
        arguments.port,
        str(output_dir(cfg)),
    )


def make_request(config: str, overrides: dict[str, Any], ranks: int) -> Request:
    """Return the request of a config file, made without its trainer."""
    from axolotl.cli import config as loading

    here, versions = loading.gpu_capabilities()
    # Axolotl's batch rule counts the trainer's ranks, which are on other machines.
    there = {**here, "n_gpu": ranks}
    with patch.object(loading, "gpu_capabilities", lambda: (there, versions)):
        return request(Config(loading.load_cfg(config, **overrides)))


def request_or_check(cfg: Config) -> None:
    """Request the server from the supervisor. Without a supervisor, check that a server answers."""
    file = os.environ.get(FILE)
    if not file:
        stop_on(check_server(cfg))
        return
    end_with(int(os.environ[SUPERVISOR]))  # the launcher in between may not end this process
    if is_first_rank():
        request(cfg).write(Path(file))


def wait(cfg: Config) -> None:
    """Wait until the server serves. If the server fails, the supervisor ends this process."""
    if file := os.environ.get(FILE):
        while not served(Path(file)).exists():
            time.sleep(0.2)
        stop_on(check_server(cfg))


def served(file: Path) -> Path:
    """Return the file beside a request that the supervisor creates when the server serves."""
    return file.with_suffix(".served")

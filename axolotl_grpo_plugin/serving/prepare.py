"""`python -m axolotl_grpo_plugin.serving.prepare CONFIG OUT [Axolotl's overrides]`: what the server is started with.

A process of its own, for Axolotl's import touches the GPU, and the supervisor must hold none.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Prepared(NamedTuple):
    """A server's command and environment, its address, and the run's output_dir."""

    command: list[str]
    env: dict[str, str]
    host: str
    port: int
    output_dir: str


def prepare(config: str, overrides: dict[str, Any]) -> Prepared:
    """Load a config as `axolotl train` does, all checks included, and let Axolotl say how to serve it."""
    from axolotl.cli import vllm_serve
    from axolotl.cli.config import load_cfg

    cfg = load_cfg(config, **overrides)
    asked: list[vllm_serve.VllmServeArguments] = []
    vllm_serve.load_cfg = lambda _: cfg  # it takes no overrides
    vllm_serve.serve = asked.append  # it would become the server
    vllm_serve.do_vllm_serve(config, {})
    (arguments,) = asked
    return Prepared(
        vllm_serve.build_command(arguments),
        vllm_serve.build_env(arguments, {}),
        arguments.host,
        arguments.port,
        cfg.output_dir,
    )


if __name__ == "__main__":
    _, config, out, overrides = sys.argv
    Path(out).write_text(json.dumps(prepare(config, json.loads(overrides))._asdict()))

"""The options that `eval` and `passrate` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from axolotl_grpo_plugin.checks.versions import install
from axolotl_grpo_plugin.findings import Findings, fault
from axolotl_grpo_plugin.serving.placement import visible_gpus


@dataclass(frozen=True)
class Options:
    """The options of one call. cli.py documents them."""

    model: Sequence[str] = ()
    checkpoints: str | None = None
    data: str | None = None
    data_file: str | None = None
    samples: int = 8
    limit: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int = 0
    batch_size: int | None = None
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    server: str | None = None
    out: str | None = None

    def vllm(self) -> bool:
        """Return whether vLLM generates: at an address, if asked, or if it is installed beside a GPU."""
        if self.engine == "auto":
            return bool(self.server) or bool(find_spec("vllm") and visible_gpus())
        return self.engine == "vllm"


def check_engine(options: Options) -> Findings:
    """Check that vLLM is there if it is asked for, and that the options fit together."""
    if options.vllm() and not options.server and not find_spec("vllm"):
        yield fault("no-vllm", "--engine vllm", "vLLM is not installed", install("vllm"))
    if options.server and options.engine == "transformers":
        yield fault(
            "options", "--server", "not for transformers", "Leave out one of --server and --engine"
        )

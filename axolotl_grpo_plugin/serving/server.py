"""Start vLLM's server, and explain why it ended."""

import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.processes import end, spawn
from axolotl_grpo_plugin.serving.address import serves
from axolotl_grpo_plugin.serving.request import Request

_LOG_EVERY = 15  # seconds between two log lines while vLLM starts
_POLL_EVERY = 0.2  # seconds
# Patterns of vLLM's log, the cause, and the fix. The first match counts.
_CAUSES = (
    (
        r"max seq(?:uence)? len.*KV cache|estimated maximum model length|larger than the available KV cache",
        "length: one sequence of vllm.max_model_len needs more memory than is left for the KV cache",
        "Lower vllm.max_model_len, or raise vllm.gpu_memory_utilization",
    ),
    (
        r"out of memory|No available memory for the cache|less than desired [CG]PU memory|not enough memory|MemoryError",
        "memory: the model and its cache do not fit",
        "Lower vllm.gpu_memory_utilization if another process uses that memory (see nvidia-smi). "
        "Otherwise raise it, or serve on more GPUs (vllm.tensor_parallel_size)",
    ),
    (
        r"max_model_len.*is greater than|derived max_model_len",
        "length: vllm.max_model_len is more than the model's own context",
        "Lower vllm.max_model_len",
    ),
    (
        r"must be divisible by tensor parallel size|divisible by tensor_parallel_size",
        "vllm.tensor_parallel_size does not divide the model's attention heads",
        "Set a divisor",
    ),
    (
        r"[Aa]ddress already in use",
        "port: another process listens on vllm.port",
        "Set another vllm.port",
    ),
    (
        r"GatedRepoError|gated repo|401 Client Error|403 Client Error",
        "model: the hub refuses access to base_model",
        "Accept its license on the hub, and set HF_TOKEN",
    ),
    (
        r"is not a valid model identifier|Repository Not Found|does not appear to have a file named|"
        r"Can't load (?:the )?config|Invalid repository ID|LocalEntryNotFoundError|OfflineModeIsEnabled|"
        r"No such file or directory: .*config\.json|Cannot find any model weights|are not supported for now",
        "model: vLLM cannot load base_model",
        "Check its name, and that vLLM supports its architecture",
    ),
    (
        r"[Bb]float16 is only supported|no kernel image|compute capability",
        "this GPU is too old for vllm.dtype",
        "Set vllm.dtype: half",
    ),
)


def cause_of(log: str) -> tuple[str, str] | None:
    """Return the cause and the fix for a server's log, None if the cause is unknown."""
    for pattern, cause, fix in _CAUSES:
        if re.search(pattern, log):
            return cause, fix
    return None


# An error at the start of a line, after vLLM's "(Worker pid=7) ERROR 11-22 14:33:58 [core.py:1] ".
_ERROR = re.compile(
    r"(?:\(.*?\) )*(?:ERROR \S+ \S+ \[.*?\] )?((?:\w+\.)*\w+(?:Error|Exception): .+)"
)


def first_error(lines: list[str]) -> str:
    """Return the first error of a log, which is the root cause. Later ones wrap it."""
    for line in lines:
        if match := _ERROR.match(line):
            return match[1]
    return ""


class VLLMServer:
    """The requested server process. It appends to vllm-server.log in output_dir."""

    def __init__(self, request: Request, env: Mapping[str, str]):
        self.host = request.host
        self.port = request.port
        self.log = Path(request.output_dir, "vllm-server.log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as file:
            self._begin = file.tell()
            self._process = spawn(request.command, {**env, **request.env}, file)
        self.pid = self._process.pid

    def runs(self) -> bool:
        """Return whether the process runs."""
        return self._process.poll() is None

    def ready(self) -> bool:
        """Return whether the server serves its model."""
        return self.runs() and serves(self.host, self.port)

    def boot(self, is_wanted: Callable[[], bool]) -> bool:
        """Wait until the server serves, or is not wanted any more. Return False if it has ended."""
        begin = time.monotonic()
        logged = 0.0
        while not self.ready():
            seconds = time.monotonic() - begin
            if not self.runs():
                return False
            if not is_wanted():
                return True
            if seconds > logged + _LOG_EVERY:
                logged = seconds
                last = "".join(self.lines()[-1:])
                say(f"vLLM starts, {seconds:.0f} s: {last[:120]}")
            time.sleep(_POLL_EVERY)
        say(f"vLLM serves on {self.host}:{self.port} after {time.monotonic() - begin:.0f} s")
        return True

    def lines(self) -> list[str]:
        """Return this server's part of the log, without empty lines."""
        with self.log.open("rb") as file:
            file.seek(self._begin)
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()]

    def end(self) -> None:
        """End the server, and wait until its memory is free."""
        end(self._process)

    def explain_end(self, when: str) -> Finding:
        """Return the error of a server that has ended: cause, fix, first error or last lines, log."""
        code = self._process.wait()
        ended = f"ended {when} (exit code {code})"
        if code < 0:
            ended = f"was ended {when} by signal {-code}"
        if code == -signal.SIGKILL:
            ended += ", which the kernel sends when memory runs out"
        lines = self.lines()
        fix = "See its log"
        if cause := cause_of("\n".join(lines)):
            fix = f"Likely cause: {cause[0]}. {cause[1]}"
        shown = first_error(lines) or "\n".join(lines[-15:])
        detail = f"{shown}\n(Whole log: {self.log})"
        return Finding("", f"vLLM's server {ended}", fix, detail, code="server-ended")


def say(line: object) -> None:
    """Print a line to stderr."""
    print(f"axolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)

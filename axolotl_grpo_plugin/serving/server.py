"""Start vLLM's server, watch it, and explain its death."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from axolotl_grpo_plugin.serving.address import answer, listening
from axolotl_grpo_plugin.serving.processes import children, spawn

# Patterns in vLLM's log, their cause, and the fix. The first match counts.
_CAUSES = (
    (
        r"max seq(?:uence)? len.*KV cache|estimated maximum model length|larger than the available KV cache",
        "length: one sequence of vllm.max_model_len does not fit into what is left for the KV cache",
        "Lower vllm.max_model_len, or raise vllm.gpu_memory_utilization",
    ),
    (
        r"out of memory|No available memory for the cache|less than desired GPU memory|not enough memory|MemoryError",
        "memory: the model and its cache do not fit",
        "Lower vllm.gpu_memory_utilization if another process holds memory of that GPU (nvidia-smi), "
        "raise it if none does, or serve on more GPUs (vllm.tensor_parallel_size)",
    ),
    (
        r"max_model_len.*is greater than|derived max_model_len",
        "length: vllm.max_model_len is more than the model's own context",
        "Lower it",
    ),
    (
        r"must be divisible by tensor parallel size|divisible by tensor_parallel_size",
        "vllm.tensor_parallel_size does not divide the model's attention heads",
        "Set one that does",
    ),
    (
        r"[Aa]ddress already in use",
        "port: another process listens there",
        "Set another vllm.port",
    ),
    (
        r"GatedRepoError|gated repo|401 Client Error|403 Client Error",
        "model: the hub does not let you have it",
        "Accept its licence on the hub, and set HF_TOKEN",
    ),
    (
        r"is not a valid model identifier|Repository Not Found|does not appear to have a file named|"
        r"Can't load (?:the )?config|Invalid repository ID|LocalEntryNotFoundError|OfflineModeIsEnabled|"
        r"No such file or directory: .*config\.json|Cannot find any model weights|are not supported for now",
        "model: vLLM cannot load base_model",
        "Check its name, and that vLLM has that architecture",
    ),
    (
        r"[Bb]float16 is only supported|no kernel image|compute capability",
        "this GPU is too old for that",
        "Set vllm.dtype: half",
    ),
)


def cause_of(log: str) -> tuple[str, str] | None:
    """Return the cause and the fix that a server's log shows, None if it shows no known cause."""
    return next(((cause, fix) for found, cause, fix in _CAUSES if re.search(found, log)), None)


class Server:
    """One server process, which appends to the file `log`."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], host: str, port: int, log: Path
    ):
        self.host, self.port, self.log = host, port, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._begin = file.tell()
            self._process: subprocess.Popen[bytes] = spawn(command, env, file)
        self.pid = self._process.pid

    def ended(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def ready(self) -> bool:
        """Return whether this server serves its model, and not another one on the same port.

        If the kernel does not tell who has the port, it is this server: the port was free before.
        """
        there = answer(self.host, self.port)
        if there is None or not there.models or self.ended() is not None:
            return False
        process = listening(self.port)
        return process is None or process.pid in (self.pid, *children(self.pid, recursive=True))

    def said(self) -> str:
        """Return this server's part of the log."""
        with self.log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def last_words(self, lines: int = 15) -> str:
        """Return the log's last lines."""
        said = [line for line in self.said().splitlines() if line.strip()]
        return "\n".join(said[-lines:])

    def death(self, when: str) -> str:
        """Return a message for a server that has ended: cause, fix, last lines, path of the log."""
        code, found = self.ended(), cause_of(self.said())
        how = f"ended {when} (exit code {code})"
        if code and code < 0:
            how = f"was ended {when} by signal {-code}" + (
                ", which the kernel sends when memory runs out" if code == -9 else ""
            )
        cause = f"likely cause: {found[0]}. {found[1]}." if found else "The log says why:"
        return f"vLLM's server {how}. {cause}\n{self.last_words()}\n(all of it: {self.log})"

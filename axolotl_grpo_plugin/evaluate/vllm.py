"""Generate with vLLM's server: one that this process starts on all GPUs, or one that is up."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import batched
from pathlib import Path

import httpx
import openai

from axolotl_grpo_plugin.config import Config, whole_of
from axolotl_grpo_plugin.evaluate.answers import AnswerJob, TokensOfJobs, seed_of
from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.findings import FindingError, first_line, stop
from axolotl_grpo_plugin.serving.address import LOCAL, server_info
from axolotl_grpo_plugin.serving.placement import visible_gpus
from axolotl_grpo_plugin.serving.plan import environment
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import VLLMServer, say

_AT_ONCE = 256  # requests per replica, vLLM's own limit of running sequences
_BATCH = 64  # answers per file of the store


class VllmBackend:
    """vLLM's OpenAI-compatible server. One start serves a base model and all adapters on it.

    Args:
        cfg: The config.
        models: All models that will be loaded.
        folder: The folder for the log of the server.
        address: HOST:PORT of a server that is up, or None to start one.
        longest: Tokens of the longest prompt with its completion.
    """

    def __init__(
        self, cfg: Config, models: Sequence[Model], folder: Path, address: str | None, longest: int
    ):
        self._cfg = cfg
        self._folder = folder
        self._address = address
        self._longest = longest
        self._rank = max(map(_rank, models))
        self.engine = f"vllm {cfg.vllm.dtype or 'auto'}"
        self._given = bool(address)
        self._gpus = visible_gpus()
        # vLLM 0.30's CPU build dies of a seed: "CPU Generator does not use offset".
        self._seeded = self._given or bool(self._gpus)
        self._server: VLLMServer | None = None
        self._base: Path | None = None
        self._name = ""  # of the model that answers
        self._adapters: set[Path] = set()

    def load(self, model: Model) -> None:
        """Let the server serve a model.

        Raises:
            FindingError: If the server cannot serve the model.
        """
        if self._base != model.folder:
            self.close()
            if not self._given:
                self._start(model)
            self._base = model.folder
            self._adapters = set()
        host, _, port = str(self._address).rpartition(":")
        info = server_info(host, int(port)) if port.isdigit() else None
        where = f"--server {self._address}"
        if info is None or not info.models:
            stop(
                "no-server",
                where,
                "no vLLM server answers",
                "Start `vllm serve`, or leave out --server",
            )
        self._name = info.models[0]
        if self._given and not _same(self._name, model.folder):
            stop(
                "other-model",
                where,
                f"it serves {self._name}, not {model.folder}",
                "Name that model with --model",
            )
        if model.adapter:
            self._load_adapter(model.adapter)

    def generate(self, jobs: Sequence[AnswerJob]) -> Iterator[TokensOfJobs]:
        """Yield the jobs with their completions' token ids, in the order in which they end."""
        replicas = max(1, len(self._gpus))
        with (
            ThreadPoolExecutor(_AT_ONCE * replicas) as pool,
            openai.OpenAI(
                base_url=f"http://{self._address}/v1",
                api_key="none",
                timeout=None,
                http_client=openai.DefaultHttpxClient(mounts={"http://": None}),  # no proxy
            ) as client,
        ):
            futures = {pool.submit(self._complete, client, job): job for job in jobs}
            try:
                for done in batched(as_completed(futures), _BATCH):
                    yield [(futures[future], future.result()) for future in done]
            except openai.OpenAIError as error:
                pool.shutdown(cancel_futures=True)
                if self._server and not self._server.runs():
                    raise FindingError(self._server.explain_end("while it answered")) from error
                stop(
                    "server-failed",
                    f"http://{self._address}",
                    f"the vLLM server failed: {first_line(error)}",
                    "Start it, and run the command again. It goes on with the answers that are there",
                )

    def close(self) -> None:
        """End the server that this backend has started."""
        if self._server:
            self._server.end()
            self._server = None

    def _complete(self, client: openai.OpenAI, job: AnswerJob) -> list[int]:
        sampling = job.sampling
        reply = client.completions.create(
            model=self._name,
            prompt=job.question.ids,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=list(sampling.stop) or None,
            seed=seed_of(job) if self._seeded and sampling.temperature else None,
            extra_body={
                "top_k": sampling.top_k,
                "min_p": sampling.min_p,
                "repetition_penalty": sampling.repetition_penalty,
                "return_token_ids": True,
                "stop_token_ids": sampling.ends,
            },
        )
        return list(reply.choices[0].token_ids)

    def _start(self, model: Model) -> None:
        with socket.socket() as probe:
            probe.bind((LOCAL, 0))
            port = probe.getsockname()[1]
        self._address = f"{LOCAL}:{port}"
        self._server = VLLMServer(
            Request(self._command(model, port), {}, LOCAL, port, str(self._folder)),
            {**environment(self._gpus), "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"},
        )
        say(f"vLLM starts with {model.folder} (log: {self._server.log})")
        if not self._server.boot(lambda: True):
            raise FindingError(self._server.explain_end("while it started"))

    def _command(self, model: Model, port: int) -> list[str]:
        from axolotl.cli.vllm_serve import round_max_lora_rank

        settings = self._cfg.vllm
        tensor = settings.tensor_parallel_size or 1
        options: dict[str, object] = {
            "host": LOCAL,
            "port": port,
            "tensor-parallel-size": tensor,
            "data-parallel-size": max(1, len(self._gpus) // tensor),
            "max-model-len": max(settings.max_model_len or 0, self._longest),
            "gpu-memory-utilization": settings.gpu_memory_utilization,
            "dtype": settings.dtype,
        }
        words = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model.folder)]
        for name, value in options.items():
            if value is not None:
                words.append(f"--{name}={value}")
        if self._cfg.trust_remote_code:
            words.append("--trust-remote-code")
        if self._rank:
            rank = round_max_lora_rank(self._rank)
            # An adapter is loaded by one API server only.
            words += ["--enable-lora", f"--max-lora-rank={rank}", "--api-server-count=1"]
        return words

    def _load_adapter(self, adapter: Path) -> None:
        self._name = str(adapter.resolve())
        if adapter in self._adapters:
            return
        reply = httpx.post(
            f"http://{self._address}/v1/load_lora_adapter",
            json={"lora_name": self._name, "lora_path": self._name},
            timeout=600,
            trust_env=False,
        )
        if reply.status_code != 200:
            stop(
                "no-adapter",
                str(adapter),
                f"vLLM does not load the adapter: {reply.text[:200]}",
                "Check that it was trained on this base model. A server of your own needs --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
            )
        self._adapters.add(adapter)


def _same(served: str, folder: Path) -> bool:
    """Return whether a server's model is the one in a folder, by its path or its hub name."""
    if os.path.isdir(served):
        return os.path.samefile(served, folder)
    return f"models--{served.replace('/', '--')}" in folder.parts


def _rank(model: Model) -> int:
    """Return the rank of a model's adapter, 0 without one."""
    if not model.adapter:
        return 0
    config = json.loads((model.adapter / "adapter_config.json").read_text())
    return whole_of(config.get("r")) or 64

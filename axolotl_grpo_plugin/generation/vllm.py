"""Generate with vLLM's server: one that this process starts on all GPUs, or one that is up."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import openai

from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import ConfigError, Finding, first_line, stop_on
from axolotl_grpo_plugin.generation.answers import Job, seed_of
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.serving.address import LOCAL, server_info
from axolotl_grpo_plugin.serving.placement import visible_gpus
from axolotl_grpo_plugin.serving.plan import environment
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.supervisor import say

_AT_ONCE = 256  # requests per replica, vLLM's own limit of running sequences
_BATCH = 64  # answers per file of the store


class VllmBackend:
    """vLLM's OpenAI-compatible server. One start serves a base model and all adapters on it.

    models: all that will be loaded. address: HOST:PORT of a server that is up, or None to start one.
    folder: for the server's log. longest: tokens of the longest prompt with its completion.
    """

    def __init__(
        self,
        cfg: Any,
        models: Sequence[Model],
        folder: Path,
        address: str | None,
        longest: int,
    ):
        self._cfg, self._folder, self._address, self._longest = cfg, folder, address, longest
        self._rank = max((_rank(each.adapter) for each in models if each.adapter), default=0)
        self.how = f"vllm {block(cfg, 'vllm').get('dtype') or 'auto'}"
        self._given = bool(address)
        self._gpus = visible_gpus()
        # vLLM 0.30's CPU build dies of a seed: "CPU Generator does not use offset".
        self._seeded = self._given or bool(self._gpus)
        self._server: Server | None = None
        self._base: Path | None = None
        self._name = ""  # of the model that answers
        self._adapters: set[Path] = set()

    def load(self, model: Model) -> None:
        """Let the server serve a model. Raises: ConfigError if it cannot."""
        if self._base != model.folder:
            self.close()
            if not self._given:
                self._start(model)
            self._base, self._adapters = model.folder, set()
        host, _, port = str(self._address).rpartition(":")
        info = server_info(host, int(port)) if port.isdigit() else None
        if info is None or not info.models:
            fix = "Start `vllm serve`, or leave out --server"
            stop_on([Finding(f"--server {self._address}", "no vLLM server answers", fix)])
        assert info is not None
        self._name = info.models[0]
        if not self._server and not _same(self._name, model.folder):
            what = f"it serves {self._name}, not {model.folder}"
            fix = "Name that model with --model"
            stop_on([Finding(f"--server {self._address}", what, fix)])
        if model.adapter:
            self._load_adapter(model.adapter)

    def generate(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, list[int]]]]:
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
            done: list[tuple[Job, list[int]]] = []
            try:
                for future in as_completed(futures):
                    done.append((futures[future], future.result()))
                    if len(done) == _BATCH:
                        yield done
                        done = []
            except openai.OpenAIError as error:
                if done:
                    yield done  # so that nothing is lost
                pool.shutdown(cancel_futures=True)
                raise ConfigError(self._explain(error)) from error
            if done:
                yield done

    def close(self) -> None:
        """End the server that this backend has started."""
        if self._server:
            self._server.end()
            self._server = None

    def _complete(self, client: openai.OpenAI, job: Job) -> list[int]:
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
        return list(reply.choices[0].token_ids)  # type: ignore[attr-defined]

    def _start(self, model: Model) -> None:
        with socket.socket() as probe:
            probe.bind((LOCAL, 0))
            port = probe.getsockname()[1]
        self._address = f"{LOCAL}:{port}"
        env = {**environment(self._gpus), "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        request = Request(
            self._command(model, port), {}, LOCAL, port, str(self._folder), os.getpid()
        )
        self._server = Server(request, env)
        begin = time.monotonic()
        say(f"vLLM starts with {model.folder} (log: {self._server.log})")
        while not self._server.ready():
            if self._server.exit_code() is not None:
                raise ConfigError(self._server.explain_end("while it started"))
            time.sleep(0.5)
        say(f"vLLM serves on {self._address} after {time.monotonic() - begin:.0f} s")

    def _command(self, model: Model, port: int) -> list[str]:
        from axolotl.cli.vllm_serve import round_max_lora_rank

        own = block(self._cfg, "vllm")
        tensor = tokens_of(own.get("tensor_parallel_size")) or 1
        options: dict[str, Any] = {
            "host": LOCAL,
            "port": port,
            "tensor-parallel-size": tensor,
            "data-parallel-size": max(1, len(self._gpus) // tensor),
            "max-model-len": max(tokens_of(own.get("max_model_len")) or 0, self._longest),
            "gpu-memory-utilization": own.get("gpu_memory_utilization"),
            "dtype": own.get("dtype"),
        }
        words = [f"--{name}={value}" for name, value in options.items() if value is not None]
        if self._cfg.get("trust_remote_code"):
            words.append("--trust-remote-code")
        if self._rank:
            rank = round_max_lora_rank(self._rank)
            # An adapter is loaded by one API server only.
            words += ["--enable-lora", f"--max-lora-rank={rank}", "--api-server-count=1"]
        return [
            sys.executable,
            "-m",
            "vllm.entrypoints.cli.main",
            "serve",
            str(model.folder),
            *words,
        ]

    def _load_adapter(self, adapter: Path) -> None:
        name = str(adapter.resolve())
        if adapter not in self._adapters:
            url = f"http://{self._address}/v1/load_lora_adapter"
            reply = httpx.Client(trust_env=False).post(
                url, json={"lora_name": name, "lora_path": name}, timeout=600
            )
            if reply.status_code != 200:
                what = f"vLLM does not load the adapter: {reply.text[:200]}"
                fix = "Check that it was trained on this base model"
                if self._server is None:
                    fix += ", and start the server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
                stop_on([Finding(str(adapter), what, fix)])
            self._adapters.add(adapter)
        self._name = name

    def _explain(self, error: Exception) -> str:
        if self._server and self._server.exit_code() is not None:
            return self._server.explain_end("while it answered")
        what = f"the vLLM server failed: {first_line(error)}"
        fix = "Start it, and run the command again. It goes on with the answers that are there"
        return str(Finding(f"http://{self._address}", what, fix))


def _same(served: str, folder: Path) -> bool:
    """Return whether a server's model is the one in a folder, by its path or its hub name."""
    if os.path.isdir(served):
        return os.path.samefile(served, folder)
    return f"models--{served.replace('/', '--')}" in folder.parts


def _rank(adapter: Path) -> int:
    return tokens_of(json.loads((adapter / "adapter_config.json").read_text()).get("r")) or 64

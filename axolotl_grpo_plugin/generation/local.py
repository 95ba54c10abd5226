"""Generate with transformers, on a CPU or on one GPU."""

from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.utils.logging import disable_progress_bar

from axolotl_grpo_plugin.findings import ConfigError, Finding, first_line
from axolotl_grpo_plugin.generation.answers import Job, seed_of
from axolotl_grpo_plugin.generation.models import Model

_LARGEST_BATCH = 256
_SHARE = 0.5  # of the free memory that the key-value cache of a batch may take


class LocalBackend:
    """transformers. how: part of the answers' keys, because precision changes answers."""

    def __init__(self, cfg: Any, tokenizer: Any, batch_size: int | None = None):
        disable_progress_bar()  # of loading weights
        self._cfg, self._tokenizer, self._batch_size = cfg, tokenizer, batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = _dtype(cfg, self.device)
        self.how = f"transformers {str(self.dtype).removeprefix('torch.')}"
        self._base: Any = None
        self._loaded: Any = None  # the folder of the base
        self._model: Any = None

    def load(self, model: Model) -> None:
        """Load a model. Raises: ConfigError if its files are broken, or the adapter does not fit."""
        try:
            # peft's `unload` keeps trained copies of whole layers, so an adapter spoils its base.
            if self._loaded != model.folder or isinstance(self._model, PeftModel):
                self._base = self._model = None  # free the memory first
                self._base = AutoModelForCausalLM.from_pretrained(
                    model.folder,
                    dtype=self.dtype,
                    trust_remote_code=bool(self._cfg.get("trust_remote_code")),
                ).to(self.device)
                self._loaded = model.folder
            self._model = self._base
            if model.adapter:
                self._model = PeftModel.from_pretrained(self._base, model.adapter)
            self._model.eval()
        except Exception as error:  # the files may be broken in any way
            what = f"cannot be loaded: {type(error).__name__}: {first_line(error)}"
            fix = "Check its files"
            if model.adapter:
                fix = f"Check its files, and that it was trained on {model.folder}"
            where = str(model.adapter or model.folder)
            raise ConfigError(str(Finding(where, what, fix))) from error

    def generate(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, list[int]]]]:
        """Yield batches of jobs with their completions' token ids, the longest prompts first."""
        by_length = sorted(jobs, key=lambda job: (job.sampling.mode, -len(job.question.ids)))
        while by_length:
            first = by_length[0]
            size = self._batch_size or self._fitting(first)
            batch = [job for job in by_length[:size] if job.sampling.mode == first.sampling.mode]
            del by_length[: len(batch)]
            yield from self._halved(batch)

    def close(self) -> None:
        """Free the memory."""
        self._base = self._model = self._loaded = None

    def _halved(self, batch: list[Job]) -> Iterator[list[tuple[Job, list[int]]]]:
        """Yield the batch with its completions, in halves if the GPU's memory does not suffice."""
        try:
            yield list(zip(batch, self._completions(batch), strict=True))
            return
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(batch) // 2
        yield from self._halved(batch[:half])
        yield from self._halved(batch[half:])

    def _completions(self, batch: list[Job]) -> list[list[int]]:
        """Return each completion's token ids, up to and with its first end token."""
        sampling, tokenizer = batch[0].sampling, self._tokenizer
        pad = tokenizer.pad_token_id
        prompts = {"input_ids": [job.question.ids for job in batch]}
        padded = tokenizer.pad(
            prompts, padding_side="left", return_tensors="pt", return_attention_mask=True
        ).to(self.device)
        settings = GenerationConfig(
            max_new_tokens=max(job.sampling.max_tokens for job in batch),  # tools leave less
            do_sample=False,  # `_SeededNoise` samples
            repetition_penalty=sampling.repetition_penalty,
            pad_token_id=pad,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=sampling.ends,
            stop_strings=list(sampling.stop) or None,
            disable_compile=True,
        )
        with torch.inference_mode():
            output = self._model.generate(
                **padded,
                generation_config=settings,
                logits_processor=_warpers(batch, self.device),
                tokenizer=tokenizer if sampling.stop else None,
            )
        return [
            _until(row, sampling.ends, pad)
            for row in output[:, padded.input_ids.shape[1] :].tolist()
        ]

    def _fitting(self, longest: Job) -> int:
        """Return the number of completions whose key-value cache fits into the free memory."""
        config = self._base.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * heads * size * self.dtype.itemsize
        logits = 4 * 4 * config.vocab_size  # some copies in float32
        each = token * (len(longest.question.ids) + longest.sampling.max_tokens) + logits
        free = psutil.virtual_memory().available
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info()
        return max(1, min(_LARGEST_BATCH, int(_SHARE * free / each)))


class _SeededNoise(LogitsProcessor):
    """Turns greedy decoding into sampling: the highest of logits plus Gumbel noise is a sample.

    Each row has a generator of its own, so that an answer does not depend on its batch.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.log()


def _warpers(batch: Sequence[Job], device: torch.device) -> LogitsProcessorList:
    """Return the processors that transformers would use to sample, and the noise."""
    sampling = batch[0].sampling
    if not sampling.temperature:
        return LogitsProcessorList()
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    return LogitsProcessorList([*warpers, _SeededNoise([*map(seed_of, batch)], device)])


def _until(ids: list[int], ends: tuple[int, ...], pad: int) -> list[int]:
    """Return the ids up to and with the first end token, without the padding behind a stop text."""
    for place, token in enumerate(ids):
        if token in ends:
            return ids[: place + 1]
    while ids and ids[-1] == pad:
        ids.pop()
    return ids


def _dtype(cfg: Any, device: torch.device) -> torch.dtype:
    """Return the precision of the config's training, float32 on a CPU."""
    if device.type == "cpu" or not (cfg.get("bf16") or cfg.get("fp16")):
        return torch.float32
    return torch.bfloat16 if cfg.get("bf16") else torch.float16

"""Generate with transformers, on a CPU or on one GPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path
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
    StoppingCriteriaList,
    StopStringCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.utils.logging import disable_progress_bar

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.evaluate.answers import AnswerJob, TokensOfJobs, seed_of
from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.findings import error_line, stop
from axolotl_grpo_plugin.repairs.startup import keep_objects
from axolotl_grpo_plugin.training.fewer_tokens import RowProcessor, generate_fewer_tokens

_LARGEST_BATCH = 256
_SHARE = 0.5  # of the free memory that the key-value cache of a batch may take


class LocalBackend:
    """Generates with transformers."""

    def __init__(self, cfg: Config, tokenizer: Any, batch_size: int | None = None):
        disable_progress_bar()  # of loading weights
        keep_objects()  # the imports end here
        self._cfg = cfg
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = _dtype(cfg, self.device)
        # Precision changes answers, so it is a part of their keys.
        self.engine = f"transformers {str(self.dtype).removeprefix('torch.')}"
        self._base: Any = None
        self._loaded: Path | None = None  # the folder of the base
        self._model: Any = None

    def load(self, model: Model) -> None:
        """Load a model.

        Raises:
            FindingError: Its files are broken, or the adapter does not fit.
        """
        try:
            # peft's `unload` keeps trained copies of whole layers, so an adapter spoils its base.
            if self._loaded != model.folder or isinstance(self._model, PeftModel):
                self._base = self._model = None  # free the memory first
                self._base = AutoModelForCausalLM.from_pretrained(
                    model.folder,
                    dtype=self.dtype,
                    trust_remote_code=bool(self._cfg.trust_remote_code),
                ).to(self.device)
                self._loaded = model.folder
            self._model = self._base
            if model.adapter:
                self._model = PeftModel.from_pretrained(self._base, model.adapter)
            self._model.eval()
        except Exception as error:  # the files may be broken in any way
            stop(
                "no-model",
                str(model.adapter or model.folder),
                f"cannot be loaded: {error_line(error)}",
                f"Check its files. An adapter must be trained on {model.folder}",
            )

    def generate(self, jobs: Sequence[AnswerJob]) -> Iterator[TokensOfJobs]:
        """Yield batches of jobs with their completions' token ids, the longest prompts first."""
        # The longest prompts of a mode come first, so that a lack of memory shows at once.
        by_length = sorted(jobs, key=lambda job: (job.sampling.mode, -len(job.question.ids)))
        while by_length:
            first = by_length[0]
            size = self._batch_size or self._fitting(first)
            batch = [job for job in by_length[:size] if job.sampling.mode == first.sampling.mode]
            del by_length[: len(batch)]
            yield list(zip(batch, self._completions(batch), strict=True))

    def close(self) -> None:
        """Free the memory."""
        self._base = self._model = self._loaded = None

    def _completions(self, batch: list[AnswerJob]) -> list[list[int]]:
        """Return each completion's token ids, up to and with its first end token."""
        tokenizer = self._tokenizer
        sampling = batch[0].sampling
        pad = tokenizer.pad_token_id
        padded = tokenizer.pad(
            {"input_ids": [job.question.ids for job in batch]},
            padding_side="left",
            return_tensors="pt",
        ).to(self.device)
        settings = GenerationConfig(
            max_new_tokens=max(job.sampling.max_tokens for job in batch),  # tools leave less
            do_sample=False,  # `_SeededNoise` samples
            repetition_penalty=sampling.repetition_penalty,
            pad_token_id=pad,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=sampling.ends,
            disable_compile=True,
        )
        stopping = StoppingCriteriaList()
        if sampling.stop:
            stopping.append(StopStringCriteria(tokenizer, list(sampling.stop)))

        with torch.inference_mode():
            output = self._model.generate(
                **padded,
                generation_config=settings,
                logits_processor=_warpers(batch, self.device),
                stopping_criteria=stopping,
                custom_generate=generate_fewer_tokens,
            )

        width = padded.input_ids.shape[1]
        return [_until(row, sampling.ends, pad) for row in output[:, width:].tolist()]

    def _fitting(self, longest: AnswerJob) -> int:
        """Return the number of completions whose key-value cache fits into the free memory."""
        config = self._base.config.get_text_config()
        # Older configs lack these two.
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None)
        if not size:
            size = config.hidden_size // config.num_attention_heads

        per_token = 2 * config.num_hidden_layers * heads * size * self.dtype.itemsize
        tokens = len(longest.question.ids) + longest.sampling.max_tokens
        logits = 4 * 4 * config.vocab_size  # some copies in float32
        completion = per_token * tokens + logits
        free = psutil.virtual_memory().available
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info()

        fitting = int(_SHARE * free / completion)
        return min(max(fitting, 1), _LARGEST_BATCH)


class _SeededNoise(RowProcessor):
    """Turns greedy decoding into sampling: the highest of logits plus Gumbel noise is a sample.

    Each row has its own generator, because an answer must not depend on its batch. Otherwise
    another --batch-size, --limit or shard, or a second call after a crash, would change answers.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.log()

    def keep(self, rows: torch.Tensor) -> None:
        self._generators = [self._generators[row] for row in rows.tolist()]


def _warpers(batch: Sequence[AnswerJob], device: torch.device) -> LogitsProcessorList:
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

    warpers.append(_SeededNoise([seed_of(job) for job in batch], device))
    return LogitsProcessorList(warpers)


def _until(ids: list[int], ends: tuple[int, ...], pad: int) -> list[int]:
    """Return the ids up to and with the first end token, without the padding behind a stop text."""
    for index, token in enumerate(ids):
        if token in ends:
            return ids[: index + 1]
    while ids and ids[-1] == pad:
        ids.pop()
    return ids


def _dtype(cfg: Config, device: torch.device) -> torch.dtype:
    """Return the precision of the config's training. On a CPU, Axolotl reads `bf16: auto` as no bf16."""
    if device.type == "cpu":
        return torch.bfloat16 if cfg.bf16 is True else torch.float32
    if cfg.bf16:
        return torch.bfloat16
    if cfg.fp16:
        return torch.float16
    return torch.float32

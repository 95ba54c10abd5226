"""End completions behind a text, such as </answer>, also without vLLM."""

from typing import Any

import torch
from transformers import StoppingCriteriaList, StopStringCriteria
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import STOP, stop_texts


class StopTexts(GRPOTrainer):
    """TRL's trainer whose completions end behind the first text of `stop` in `generation_kwargs`.

    vLLM knows `stop`. transformers has `stop_strings`, for which TRL passes no tokenizer, and pads a completion behind the text.

    Attributes:
        cfg: The config of the run.
        stopping: Ends the completions of transformers. None without such a text, or with vLLM.
    """

    cfg: Config
    stopping: StoppingCriteriaList | None = None
    _tokenizer: Any  # TRL's

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        if self.use_vllm:
            return
        for name in STOP:  # transformers would ask for a tokenizer
            self.generation_kwargs.pop(name, None)
            setattr(self.generation_config, name, None)
        if texts := stop_texts(self.cfg):
            self.stopping = StoppingCriteriaList([StopStringCriteria(self._tokenizer, texts)])

    def _generate_single_turn(self, prompt_ids: Any, *arguments: Any, **options: Any) -> Any:
        """Generate completions, without the padding behind a text that ends one."""
        completion_ids, logprobs = super()._generate_single_turn(prompt_ids, *arguments, **options)
        if self.stopping:
            ends = self._tokenizer.eos_token_id
            ends = {self._tokenizer.pad_token_id, *(ends if isinstance(ends, list) else [ends])}
            rows = zip(prompt_ids, completion_ids, strict=True)
            completion_ids = [kept(*row, ends, self.stopping) for row in rows]
        return completion_ids, logprobs


def kept(
    prompt: list[int], completion: list[int], ends: set[int], stopping: StoppingCriteriaList
) -> list[int]:
    """Return a completion up to the text that ends it, without the padding behind that text.

    Args:
        prompt: The token ids of the prompt.
        completion: The token ids that transformers returned.
        ends: The ids of the padding and of the end tokens, which may be the padding, too.
        stopping: The criteria that found the text.
    """
    length = next((index for index, token in enumerate(completion) if token in ends), None)
    if length is None:
        return completion
    written = torch.tensor([prompt + completion[:length]])
    is_stopped = all(bool(criterion(written, None)) for criterion in stopping)
    return completion[:length] if is_stopped else completion

"""Look at the ends of rendered prompts: does a prompt open the model's thinking?"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import Tokenizer, name_of, open_tokenizer
from axolotl_grpo_plugin.thinking import opened_by


class PromptEnds:
    """Finds the marks of thinking in which a config's prompts end.

    Args:
        cfg: The config. Its tokenizer is opened if a prompt is a chat.
    """

    def __init__(self, cfg: Config):
        self._cfg = cfg

    def __call__(self, prompts: Sequence[Any]) -> list[str]:
        """Return the mark of each prompt, "" for a prompt that opens no thinking or that cannot be rendered."""
        marks: list[str] = []
        last = object()
        for prompt in prompts:
            if prompt != last:  # the completions of a prompt group follow each other
                mark = self._mark_of(prompt)
            last = prompt
            marks.append(mark)
        return marks

    def _mark_of(self, prompt: Any) -> str:
        if isinstance(prompt, list) and self._tokenizer:
            try:
                prompt = self._tokenizer.text(prompt)
            except Exception:  # a template may raise any error, which `check` names
                return ""
        return opened_by(prompt) if isinstance(prompt, str) else ""

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        if not name_of(self._cfg):
            return None
        try:
            return open_tokenizer(self._cfg)
        except Exception:  # the training and `check` name the fault
            return None

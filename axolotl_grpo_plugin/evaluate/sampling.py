"""How answers are generated: the settings of a training, or those of the command line."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from axolotl_grpo_plugin.config import Config, block, completion_of, number_of, tokens_of


@dataclass(frozen=True)
class Sampling:
    """The settings of an answer, with TRL's names and defaults.

    temperature: 0 is greedy. max_tokens: tokens per completion. stop: texts that end a completion.
    ends: ids of the tokens that end it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, cfg: Config, **given: Any) -> "Sampling":
        """Return the settings of a config's training. given: values that replace them unless None."""
        trl = block(cfg, "trl")
        own: dict[str, Any] = {
            "max_tokens": completion_of(cfg),
            "top_k": tokens_of(trl.get("top_k")),
        }
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            own[name] = number_of(trl.get(name))
        return cls(
            **{name: value for name, value in [*own.items(), *given.items()] if value is not None}
        )

    @property
    def mode(self) -> Literal["greedy", "sampled"]:
        """ "greedy" or "sampled"."""
        return "sampled" if self.temperature else "greedy"

    def greedy(self) -> "Sampling":
        """Return the settings with greedy decoding."""
        return replace(self, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, seed=0)

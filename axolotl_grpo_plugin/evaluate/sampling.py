"""How answers are generated: the settings of a training, or those of the command line."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import stop_texts


@dataclass(frozen=True)
class Sampling:
    """The settings of an answer, with TRL's names and defaults.

    Attributes:
        temperature: 0 is greedy.
        max_tokens: The most tokens of a completion.
        stop: Texts that end a completion.
        ends: The ids of the tokens that end a completion.
        seed: The seed of all answers. Each answer has a seed of its own, which depends on this one.
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
        """Return the settings of a config's training.

        Args:
            cfg: The config.
            given: Settings that replace those of the config, unless they are None.
        """
        trl = cfg.trl
        settings: dict[str, Any] = {
            "max_tokens": trl.max_completion_length,
            "temperature": trl.temperature,
            "top_k": trl.top_k,
            "top_p": trl.top_p,
            "min_p": trl.min_p,
            "repetition_penalty": trl.repetition_penalty,
            "stop": tuple(stop_texts(cfg)),
        }
        for name, value in given.items():
            if value is not None:
                settings[name] = value
        return cls(**{name: value for name, value in settings.items() if value is not None})

    @property
    def mode(self) -> Literal["greedy", "sampled"]:
        """ "greedy" or "sampled"."""
        return "sampled" if self.temperature else "greedy"

    def greedy(self) -> "Sampling":
        """Return the settings with greedy decoding."""
        return replace(self, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, seed=0)

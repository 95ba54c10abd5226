"""The base class of environments."""

from abc import ABC, abstractmethod


class EpisodeLost(Exception):
    """Raise it in a tool if the episode cannot go on, but not because of the model: a server is gone.

    Then no reward of this episode counts, also none of `trl.reward_funcs`.
    """


class Environment(ABC):
    """One episode at a time: `reset` begins it, the model calls the tools, and `get_reward` judges it.

    Each object lives in a process of its own, so it may keep any state. The public methods except `reset`
    and `get_reward` are the tools: each needs type hints and a docstring with "Args:", and returns text. A
    tool that raises an error gives its message to the model. `get_reward`, if there is one, takes no
    argument and returns a number; TRL adds it to the rewards, with weight 1, under the class's name.

    The completions of a prompt group begin with the same row, so take every random choice from the row.
    A class that was written for TRL's `environment_factory` works unchanged.

    done: set it to True to end the episode. Then the model writes its last turn, and calls no tool.
    """

    done: bool = False

    @abstractmethod
    def reset(self, **row: object) -> str | None:
        """Begin an episode. row: the columns of the dataset's row.

        Returns text to add to the last message of the prompt, or None.
        """

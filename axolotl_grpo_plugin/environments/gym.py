"""Problems of reasoning-gym in several tries."""

from axolotl_grpo_plugin.environments.base import Environment, EpisodeLost
from axolotl_grpo_plugin.rewards.gym import gym_reward_func, read_entry, ready


class ReasoningGym(Environment):
    """Solve a problem, and hear after each try whether it was right. The rows are those of the transform `gym`.

    The reward is that of `rewards.gym`. Each episode's process has a sandbox of its own.

    Args:
        tries: how often the model may answer.
        reward: the reward of the episode: of the "best" try, or of the "last".
        partial, allow_unsafe: as in `rewards.gym`.
    """

    def __init__(
        self,
        tries: int = 3,
        reward: str = "best",
        partial: bool = False,
        allow_unsafe: bool = False,
    ):
        if reward not in ("best", "last"):
            raise ValueError(f"reward: {reward!r} is neither best nor last")
        ready(allow_unsafe)
        self._tries, self._best = tries, reward == "best"
        self._reward = gym_reward_func.bind(partial=partial, allow_unsafe=allow_unsafe)

    def reset(self, entry: object, **_: object) -> str:  # type: ignore[override]
        if read_entry(entry) is None:
            raise ValueError("the row's `entry` is not a problem. Use the transform gym")
        self._entry, self._scores, self.done = entry, [0.0], False
        return f" Give your answer with the tool `answer`. You have {self._tries} tries."

    def answer(self, text: str) -> str:
        """
        Give an answer, and learn whether it is right.

        Args:
            text: The answer alone, in the form that is asked for.
        """
        score = self._reward.score(f"<answer>{text}</answer>", entry=self._entry).value
        if score is None:
            raise EpisodeLost("reasoning-gym cannot score this problem")
        self._scores.append(score)
        left = self._tries - len(self._scores) + 1
        self.done = score >= 1.0 or not left
        return "right" if score >= 1.0 else f"not right, {left} tries left"

    def get_reward(self) -> float:
        return max(self._scores) if self._best else self._scores[-1]

"""An environment plays one episode per completion, and a lost one ends only its rollout."""

import asyncio
import os
import time

import pytest

from axolotl_grpo_plugin.environments import Environment, GuessNumber
from axolotl_grpo_plugin.environments.guarded import OVER, guarded_environment
from axolotl_grpo_plugin.environments.runner import LOST, ToolError, ToolRunner
from axolotl_grpo_plugin.environments.server import ToolLimits, ToolRef
from rewards.door import Door


class Fragile(Environment):
    """Counts its steps, and fails as it is told."""

    def __init__(self, start: int = 0):
        self.start = start

    def reset(self, how="", **row):
        if how:
            raise ValueError(how)
        self.steps = self.start

    def step(self, how: str) -> str:
        """
        Make a step.

        Args:
            how: The way to fail.
        """
        self.steps += 1
        if how == "die":
            os._exit(1)
        if how == "hang":
            time.sleep(100)
        if how == "raise":
            raise ValueError("not allowed")
        return str(self.steps)

    async def wait(self) -> str:
        """Wait."""
        return f"loop {id(asyncio.get_running_loop())}"

    def get_reward(self):
        return float(self.steps)


@pytest.fixture(scope="module")
def made():
    """The guarded classes of two environments, and their runner."""
    paths = [f"{__name__}.Fragile", "axolotl_grpo_plugin.environments.GuessNumber"]
    refs = [ToolRef(paths[0], {"start": 10}), ToolRef(paths[1], {"guesses": 3})]
    runner = ToolRunner(refs, ToolLimits(0.5, 1 << 30, 1000))
    yield guarded_environment(Fragile, runner, 0), guarded_environment(GuessNumber, runner, 1), runner
    runner.close()


def test_episodes_keep_their_own_state(made):
    first, second = made[0](), made[0]()
    assert first.reset(answer="1") is None and second.reset(answer="1") is None
    assert [first.step(how=""), first.step(how=""), second.step(how="")] == ["11", "12", "11"]
    assert (first.get_reward(), second.get_reward()) == (12.0, 11.0)
    first.reset(answer="2")
    assert first.get_reward() == 10.0


def test_async_calls_of_an_episode_share_a_loop(made):
    episode = made[0]()
    episode.reset()
    assert episode.wait() == episode.wait()


def test_error_of_a_tool_does_not_end_the_episode(made):
    episode = made[0]()
    episode.reset()
    with pytest.raises(ToolError, match="not allowed"):
        episode.step(how="raise")
    assert episode.step(how="") == "12"


@pytest.mark.parametrize("how", ["die", "hang"])
def test_killed_process_ends_its_episode_and_is_counted(made, how):
    episode, other, runner = made[0](), made[0](), made[2]
    episode.reset()
    other.reset()
    runner.take_counts([])
    for _ in range(2):
        with pytest.raises(ToolError):
            episode.step(how=how)
    assert episode.get_reward() is None
    assert other.step(how="") == "11"
    assert runner.take_counts([LOST, ("step", "calls")]) == [1, 3]
    episode.reset()
    assert episode.get_reward() == 10.0


def test_failed_reset_loses_the_episode(made):
    episode = made[0]()
    episode.reset()
    assert episode.reset(how="no such row") is None
    assert episode.get_reward() is None
    with pytest.raises(ToolError, match="no such row"):
        episode.step(how="")


def test_done_environment_takes_no_more_calls(made):
    game = made[1]()
    assert game.reset(answer="70") == " The number is between 1 and 100. You have 3 guesses."
    assert [game.guess(number=50), game.guess(number=70)] == ["too low", "correct"]
    with pytest.raises(ToolError, match=OVER):
        game.guess(number=70)
    assert game.get_reward() == 1.0


def test_model_gets_the_schema_of_the_environments_own_class(made):
    from transformers.utils import get_json_schema

    assert get_json_schema(made[1]().guess) == get_json_schema(GuessNumber().guess)


def test_example_opens_with_its_code():
    door = Door(tries=2)
    assert "3 digits" in door.reset(code="123")
    assert door.press("129") == "2 digits are at the right place" and not door.done
    assert door.press("123") == "open" and door.done
    assert door.get_reward() == 1.0


@pytest.mark.parametrize(
    "guesses, reward",
    [([6], 1.0), ([4, 6], 1.0), ([4, 3, 6], 0.6), ([4, 5, 7], 0.0), ([9, 8, 1], -0.8), ([7, 7, 7], -0.8)],
)
def test_game_pays_finds_and_charges_for_guesses_that_the_hints_rule_out(guesses, reward):
    game = GuessNumber(low=1, high=7, guesses=3)
    game.reset(answer="6")
    for guess in guesses:
        game.guess(guess)
    assert game.done and game.get_reward() == pytest.approx(reward)

"""Problems of reasoning-gym in several tries."""

import json

import pytest

from axolotl_grpo_plugin.environments.base import EpisodeLost
from axolotl_grpo_plugin.environments.gym import ReasoningGym


def entry(task="chain_sum", answer="5"):
    metadata = {"source_dataset": task}
    return json.dumps({"question": "2 + 3 = ?", "answer": answer, "metadata": metadata})


def played(answers, problem=None, **options):
    game = ReasoningGym(allow_unsafe=True, **options)
    game.reset(entry=problem or entry(), prompt="?")
    return [game.answer(each) for each in answers], game


def test_model_hears_whether_a_try_was_right():
    said, game = played(["6", "5"])
    assert said == ["not right, 2 tries left", "right"]
    assert game.done and game.get_reward() == 1.0


def test_episode_ends_with_its_last_try():
    said, game = played(["6", "7"], tries=2)
    assert said[-1] == "not right, 0 tries left" and game.done and game.get_reward() == 0.0


def test_no_try_gives_nothing():
    assert played([])[1].get_reward() == 0.0


@pytest.mark.parametrize("reward, value", [("best", 0.5), ("last", 0.0)])
def test_partial_credit_of_the_best_or_the_last_try(reward, value):
    problem = entry("letter_counting", "3")
    _, game = played([], problem, reward=reward, partial=True)
    game._scores = [0.0, 0.5, 0.0]
    assert game.get_reward() == value


def test_problem_that_cannot_be_scored_loses_the_episode():
    with pytest.raises(EpisodeLost):
        played(["6"], entry("no_such_task"))


def test_row_without_a_problem_is_refused():
    with pytest.raises(ValueError, match="Use the transform gym"):
        ReasoningGym(allow_unsafe=True).reset(entry="text")

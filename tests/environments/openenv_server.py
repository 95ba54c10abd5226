"""A game on OpenEnv's own server: `uvicorn tests.environments.openenv_server:app`."""

from typing import Literal

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import Field


class Guess(Action):
    """Guess the number."""

    number: int = Field(description="The guess.")
    why: Literal["luck", "logic"] = "luck"


class Hint(Observation):
    hint: str


class Game(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, answer="5"):
        self.number = int(answer)
        return Hint(hint=f"seed {seed}")

    def step(self, action, timeout_s=None):
        done = action.number == self.number
        return Hint(hint="right" if done else "wrong", done=done, reward=1.0 if done else -0.25)

    @property
    def state(self):
        return State()


app = create_app(Game, Guess, Hint, max_concurrent_envs=3)

"""Episodes on OpenEnv's own servers, which can be killed."""

import sys
from importlib.util import find_spec
from typing import Any, Literal

import psutil
import pytest

from axolotl_grpo_plugin.checks.tools import check_tools
from axolotl_grpo_plugin.environments.guarded import guarded_environment
from axolotl_grpo_plugin.environments.runner import LOST, ToolError, ToolRunner
from axolotl_grpo_plugin.environments.server import Limits, ToolRef
from tests.conftest import Later

# transformers reads docstrings, and imports torch.
pytestmark = pytest.mark.xdist_group("with torch")

openenv = Later("axolotl_grpo_plugin.environments.openenv")
PATH = "axolotl_grpo_plugin.environments.openenv.OpenEnv"
COMMAND = f"exec {sys.executable} -m uvicorn tests.environments.{{}}:app --port {{{{port}}}} --log-level warning"


def made_of(server, **arguments):
    ref = ToolRef(PATH, {"start": COMMAND.format(server), **arguments})
    runner = ToolRunner([ref], Limits(20, 2 << 30, 1000))
    return guarded_environment(ref.load(), runner, 0), runner


@pytest.fixture(scope="module")
def game():
    """The guarded class of a game, and its runner."""
    made = made_of("openenv_server")
    yield made
    made[1].close()


def server_process():
    """Return the server, a child of the process that keeps it running."""
    below = psutil.Process().children(recursive=True)
    return next(each for each in below if "uvicorn" in each.cmdline())


def test_episode_on_a_server_has_its_tool_and_rewards(game):
    episode, other = game[0](), game[0]()
    row = {"prompt": [{"role": "user", "content": "?"}], "answer": "7"}
    assert episode.reset(**row) == other.reset(**row) != episode.reset(**row, id=2)
    assert [episode.step(number=5), episode.step(number=7)] == ["wrong", "right"]
    assert (episode.get_reward(), other.get_reward()) == (0.75, 0.0)
    with pytest.raises(ToolError, match="The episode is over"):
        episode.step(number=7)
    with pytest.raises(ToolError, match="VALIDATION_ERROR"):
        other.step(nombre=7)


def test_model_gets_the_schema_of_the_servers_action(game):
    from transformers.utils import get_json_schema

    schema = get_json_schema(game[0]().step)["function"]
    assert schema["description"] == "Guess the number."
    fields = {
        "number": {"type": "integer", "description": "The guess."},
        "why": {"type": "string", "enum": ["luck", "logic"], "description": "Why"},
    }
    assert schema["parameters"] == {"type": "object", "properties": fields, "required": ["number"]}


def test_killed_server_loses_its_episodes_and_comes_back(game):
    episode, runner = game[0](), game[1]
    episode.reset(answer="7")
    runner.take_counts([])
    server_process().kill()
    for _ in range(2):
        with pytest.raises(ToolError, match=r"the connection to .* broke"):
            episode.step(number=7)
    assert episode.get_reward() is None and episode.neutral
    assert runner.take_counts([LOST]) == [1]
    episode.reset(answer="7")
    assert not episode.neutral
    assert (episode.step(number=7), episode.get_reward()) == ("right", 1.0)


def test_server_without_a_free_session_says_how_to_get_one(game):
    episodes = [game[0]() for _ in range(4)]  # and the sessions of the tests above
    for each in episodes:
        each.reset(answer="7")
    assert episodes[3].neutral and "Raise max_concurrent_envs" in episodes[3]._over


@pytest.mark.skipif(not find_spec("fastmcp"), reason="openenv-core 0.2.0 has no MCP servers")
def test_tools_of_an_mcp_server_become_the_models_tools():
    made, runner = made_of("openenv_mcp_server")
    episode = made()
    assert episode.reset(answer="7") is None
    assert episode.add(a=3) == "5"
    with pytest.raises(ToolError, match="valid integer"):
        episode.add(a="x")
    assert "Add two numbers." in episode.add.__doc__ and "    b: The second." in episode.add.__doc__
    runner.close()


@pytest.mark.parametrize(
    "arguments, wrong",
    [
        (
            {"url": "http://127.0.0.1:9"},
            "grpo_environment_args.url: no OpenEnv server answers at http://127.0.0.1:9/health. "
            "Start the server, or correct the address.",
        ),
        ({"start": "exit 1 {port}", "seconds": 0.5}, "See the command's output above."),
        ({"start": "uvicorn app"}, "Set `url`, or `start` with {port} for the server's port."),
        ({"url": "http://127.0.0.1:9", "reward": "mean"}, "Set sum, last or best."),
        ({"port": 1}, "got an unexpected keyword argument 'port'"),
    ],
)
def test_server_that_cannot_be_used_is_refused(arguments, wrong):
    found = check_tools({"grpo_environment": PATH, "grpo_environment_args": arguments})
    assert wrong in "\n".join(map(str, found))


@pytest.mark.parametrize(
    "value, text",
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "is_error": False}, "a\nb"),
        ([{"type": "image", "data": "aGk="}], "[image]"),
        ({"result": {"observation": "won"}, "metadata": {"step": 1}}, "won"),
        ({"board": "x..", "legal": [], "score": 0}, '{"board": "x..", "score": 0}'),
        ({"moves": [1, 2]}, '{"moves": [1, 2]}'),
        ({}, ""),
        (None, ""),
        (5, "5"),
    ],
)
def test_text_of_results(value, text):
    assert openenv.text_of(value) == text


@pytest.mark.parametrize(
    "field, hint",
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, int | None),
        ({"type": ["string", "null"]}, str | None),
        ({"type": "array", "items": {"$ref": "#/$defs/Side"}}, list[Literal["left", "right"]]),
        ({"type": "object"}, dict),
        ({}, Any),
    ],
)
def test_hint_of_a_json_schema(field, hint):
    assert openenv._hint(field, {"Side": {"enum": ["left", "right"]}}) == hint

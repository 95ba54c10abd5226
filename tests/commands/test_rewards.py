import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands.rewards import WIDTH

OURS = """
from axolotl_grpo_plugin.reward import Reward, Score, group_reward, reward


@reward(range=(0.0, 0.5), reads="answer", may_read=["hint"])
def close(completion: str, answer: str, hint: str | None, least: int = 3) -> Score:
    \"\"\"0.5 where it is close.

    More of it.
    \"\"\"
    return Score(0.5, "close", completion)


@group_reward(range=(-1.0, 1.0))
def shortest(completions: list[str], tie: float = 0.0) -> list[float]:
    \"\"\"1.0 for the shortest.\"\"\"
    return [1.0 for _ in completions]


def factory(model: str, most: int = 3) -> Reward:
    \"\"\"A reward of options.\"\"\"
    return close


async def awaited(prompts, completions, **columns):
    \"\"\"Asks somebody.\"\"\"
    return [0.0 for _ in completions]


def plain(completions, **columns):
    return [0.0 for _ in completions]


class Counts:
    \"\"\"Counts.\"\"\"

    def __init__(self, most: int):
        self.__name__ = "counts"

    def __call__(self, prompts, completions, **columns):
        return [0.0 for _ in completions]


def helper(text: str) -> int:
    return len(text)


def _hidden(completions, **columns):
    return [0.0 for _ in completions]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with rewards of one's own."""
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "ours.py").write_text(OURS)
    (tmp_path / "rewards" / "_not.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "rewards"]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "rewards"]:
        del sys.modules[name]


def listed(*options):
    result = CliRunner().invoke(grpo, ["rewards", *options])
    return result.exit_code, result.output


def test_everything_is_there_with_what_is_known_of_it(folder):
    code, shown = listed("--json")
    assert code == 0, shown
    of = {each.pop("path"): each for each in json.loads(shown)}
    assert of["axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"] == {
        "kind": "reward",
        "range": [0.0, 2.0],
        "reads": ["answer"],
        "may_read": [],
        "options": {},
        "pays": "Return 2.0 if the answer states the gold number, else 0.0.",
    }
    assert of["rewards.ours.close"] == {
        "kind": "reward",
        "range": [0.0, 0.5],
        "reads": ["answer"],
        "may_read": ["hint"],
        "options": {"least": 3},
        "pays": "0.5 where it is close.",
    }
    kinds = {path.removeprefix("rewards.ours."): each["kind"] for path, each in of.items()}
    assert kinds["shortest"] == "group" and of["rewards.ours.shortest"]["options"] == {"tie": 0.0}
    assert kinds["factory"] == "factory" and of["rewards.ours.factory"]["options"] == {
        "model": "required",
        "most": 3,
    }
    assert kinds["Counts"] == "factory" and of["rewards.ours.Counts"]["options"] == {
        "most": "required"
    }
    assert kinds["awaited"] == "async" and kinds["plain"] == "function"
    assert "helper" not in kinds and "_hidden" not in kinds
    assert kinds["axolotl_grpo_plugin.gsm8k"] == kinds["axolotl_grpo_plugin.verl"] == "transform"
    assert all(each["pays"] for path, each in of.items() if path.startswith("axolotl_grpo_plugin"))


def test_every_shipped_file_of_rewards_and_transforms_is_listed(folder):
    package = Path(__file__).parents[1] / "axolotl_grpo_plugin"
    paths = [each["path"] for each in json.loads(listed("--json")[1])]
    for file in (package / "rewards").glob("*.py"):
        for name in re.findall(r"^@(?:group_)?reward\([^@]*?^def (\w+)", file.read_text(), re.M):
            assert f"axolotl_grpo_plugin.rewards.{file.stem}.{name}" in paths
    assert {f"axolotl_grpo_plugin.rewards.{name}.{name}" for name in ("judge", "dispatch")} <= {
        *paths
    }
    for file in (package / "transforms").glob("[!_]*.py"):
        assert (f"axolotl_grpo_plugin.{file.stem}" in paths) == (file.stem != "rows")


def test_the_table_fits(folder):
    code, shown = listed()
    assert code == 0, shown
    assert max(map(len, shown.splitlines())) <= WIDTH
    lines = " ".join(shown.split())
    assert "rewards.ours.*" in lines and "axolotl_grpo_plugin.*" in lines
    assert "close 0 .. 0.5 answer, [hint] 0.5 where it is close. least=3" in lines
    assert "factory A reward of options. [factory] model, most=3" in lines
    assert "Counts Counts. [factory] most" in lines


def test_a_file_that_cannot_be_imported_is_said_after_the_others(folder):
    (folder / "rewards" / "broken.py").write_text("import no_such_module")
    code, shown = listed()
    assert code == 1
    assert "equation_reward_func" in shown
    assert "rewards.broken cannot be imported, because it imports 'no_such_module'" in shown


def test_it_starts_light(tmp_path):
    script = "import sys; from axolotl_grpo_plugin.commands.rewards import run; run(False); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "correctness_reward_func" in done.stdout
    assert not {"torch", "axolotl", "transformers", "datasets", "trl"} & set(done.stderr.split())

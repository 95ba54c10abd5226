"""`axolotl-grpo reward list` lists the shipped rewards and a user's."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import axolotl_grpo_plugin
from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands.reward_list import full_path
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.report.console import WIDTH

OURS = """
from axolotl_grpo_plugin.reward import Reward, Score, group_reward, reward


@reward(range=(0.0, 0.5), reads="answer", may_read=["hint"])
def close(completion: str, answer: str, hint: str | None, least: int = 3) -> Score:
    \"\"\"0.5 for a close answer.

    A second paragraph.
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
    \"\"\"Asks a model.\"\"\"
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


class TooShort(ValueError):
    \"\"\"Raised by `helper`.\"\"\"


def _hidden(completions, **columns):
    return [0.0 for _ in completions]
"""


@pytest.fixture
def folder(working_folder):
    """A working folder with a user's rewards."""
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    (working_folder / "rewards" / "_not.py").write_text("raise SystemExit")
    return working_folder


def listed(*options):
    result = CliRunner().invoke(grpo, ["reward", "list", *options])
    return result.exit_code, result.output


def test_lists_rewards_factories_and_transforms(folder):
    code, printed = listed("--json")
    assert code == 0, printed
    entries = {each.pop("path"): each for each in json.loads(printed)}
    assert entries["rewards.ours.close"] == {
        "range": [0.0, 0.5],
        "reads": ["answer"],
        "may_read": ["hint"],
        "options": {"least": 3},
        "pays": "0.5 for a close answer.",
    }
    ours = {
        path.removeprefix("rewards.ours."): each["options"]
        for path, each in entries.items()
        if path.startswith("rewards.ours.")
    }
    assert ours == {
        "close": {"least": 3},
        "shortest": {"tie": 0.0},
        "factory": {"model": "required", "most": 3},
        "Counts": {"most": "required"},
        "awaited": {},
        "plain": {},
    }
    for name in ("gsm8k", "verl"):
        assert f"axolotl_grpo_plugin.{name}" in entries
    shipped = [each for path, each in entries.items() if path.startswith("axolotl_grpo_plugin")]
    assert all(each["pays"] for each in shipped)


def test_every_shipped_file_of_rewards_and_transforms_is_listed(folder):
    package = Path(axolotl_grpo_plugin.__file__).parent
    paths = [each["path"] for each in json.loads(listed("--json")[1])]
    for file in (package / "rewards").glob("*.py"):
        for name in re.findall(r"^@(?:group_)?reward\([^@]*?^def (\w+)", file.read_text(), re.M):
            assert f"axolotl_grpo_plugin.rewards.{file.stem}.{name}" in paths
    for name in ("judge", "dispatch"):
        assert f"axolotl_grpo_plugin.rewards.{name}.{name}" in paths
    for file in (package / "transforms").glob("[!_]*.py"):
        assert (f"axolotl_grpo_plugin.{file.stem}" in paths) == (file.stem != "rows")


def test_table_has_one_entry_per_reward_and_fits(folder):
    code, printed = listed()
    assert code == 0, printed
    assert max(map(len, printed.splitlines())) <= WIDTH
    lines = " ".join(printed.split())
    assert "rewards.ours.*" in lines and "axolotl_grpo_plugin.*" in lines
    assert "close 0 .. 0.5 answer, [hint] 0.5 for a close answer. least=3" in lines
    assert "factory A reward of options. model, most=3" in lines
    assert "Counts Counts. most" in lines


def test_lists_the_others_if_one_file_cannot_be_imported(folder):
    (folder / "rewards" / "broken.py").write_text("import no_such_module")
    code, printed = listed()
    assert code == 1
    assert "equation_reward_func" in printed
    assert "rewards.broken cannot be imported, because it imports 'no_such_module'" in printed


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gsm8k.int", "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"),
        ("xmlcount_reward_func", "axolotl_grpo_plugin.rewards.gsm8k.xmlcount_reward_func"),
        ("math", "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"),
        ("ours.close", "rewards.ours.close"),
        ("trl.rewards.accuracy_reward", "trl.rewards.accuracy_reward"),
        ("rewards.ours.no_such", "rewards.ours.no_such"),
    ],
)
def test_short_name_becomes_a_path(folder, name, path):
    assert full_path(name) == path


def test_refuses_short_name_of_several_rewards(working_folder):
    with pytest.raises(FindingError) as error:
        full_path("gsm8k")
    assert error.value.finding.code == "ambiguous"

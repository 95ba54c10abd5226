"""A command whose results cannot be written says so in one line, with the path."""

import pytest

from tests.conftest import QUICKSTART, invoke
from tests.viewer.data import write_run

# The words of a command, after which the path to write to comes. "RUN" stands for a run.
COMMANDS = {
    "init": ["init", QUICKSTART / "train.jsonl", "--out"],
    "fetch": ["fetch", "--out"],
    "view": ["view", "RUN", "--out"],
}


def last_line(words, path):
    result = invoke(*words, path, code=1)
    assert isinstance(result.exception, SystemExit)
    return str(result.exception)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["full", "forbidden", "missing"])
def test_place_that_takes_no_file_is_named(working_folder, full, command, place):
    folder = {"full": full, "forbidden": "/proc/nope", "missing": "/proc/1/nope"}[place]
    write_run(working_folder / "RUN")
    line = last_line(COMMANDS[command], f"{folder}/a")
    assert line.startswith(f"axolotl-grpo-plugin: {folder}") and "cannot be written: No s" in line and "\n" not in line
    assert place != "full" or ("(0 bytes free). Free space" in line and not list(full.glob("a*part")))

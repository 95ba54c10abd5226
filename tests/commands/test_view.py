"""`axolotl grpo view`: the file, and another reward."""

import base64
import gzip
import json
import re

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from tests.viewer.data import write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine")


def test_command_writes_one_file_and_scores_with_another_reward(folder, working_folder):
    (working_folder / "rewards/other.py").write_text(
        "from axolotl_grpo_plugin.reward import reward\n\n"
        "@reward(range=(0.0, 1.0), reads='answer')\n"
        "def other(completion: str, answer: str) -> float:\n    return float(completion.endswith(answer))\n"
    )
    result = CliRunner().invoke(grpo, ["view", str(folder), "--reward", "rewards.other.other", "-o", "v.html"])
    assert result.exit_code == 0, result.output
    assert "60 rollouts. Open it" in result.output
    embedded = re.search(r'id="data">([^<]*)<', (working_folder / "v.html").read_text())[1]
    run = json.loads(gzip.decompress(base64.b64decode(embedded)))["runs"][0]
    assert run["versions"][0]["name"] == "rewards.other.other"
    assert run["versions"][0]["scores"][:8] == [0, 0, 0, 0, 0, 0, 1, 1]

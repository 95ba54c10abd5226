"""`axolotl-grpo view`: the file."""

import base64
import gzip
import json
import re

from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from tests.viewer.data import write_run


def test_command_writes_one_file(working_folder):
    folder = write_run(working_folder / "mine")
    result = CliRunner().invoke(grpo, ["view", str(folder), "--out", "v.html"])
    assert result.exit_code == 0, result.output
    assert "60 rollouts. Open it" in result.output
    embedded = re.search(r'id="data">([^<]*)<', (working_folder / "v.html").read_text())[1]
    assert json.loads(gzip.decompress(base64.b64decode(embedded)))["runs"][0]["total"] == 60

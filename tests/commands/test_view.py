"""`axolotl-grpo view`: the file."""

import base64
import gzip
import json
import re

from tests.conftest import invoke
from tests.viewer.data import write_run


def test_command_writes_one_file(working_folder):
    folder = write_run(working_folder / "mine")
    assert "60 rollouts. Open it" in invoke("view", folder, "--out", "v.html").output
    embedded = re.search(r'id="data">([^<]*)<', (working_folder / "v.html").read_text())[1]
    assert json.loads(gzip.decompress(base64.b64decode(embedded)))["runs"][0]["total"] == 60

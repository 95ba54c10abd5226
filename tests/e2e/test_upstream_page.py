"""The programs of docs/upstream/README.md show faults of the installed Axolotl and TRL."""

import re
import subprocess
import sys

import pytest

from tests.conftest import MODEL
from tests.e2e.conftest import ROOT, environment

FOLDER = ROOT / "docs" / "upstream"
PAGE = (FOLDER / "README.md").read_text()
PROGRAMS = dict(re.findall(r"^\[.+?\]\((\w+\.py)\) prints `(.+?)`\.", PAGE, re.MULTILINE))


def test_each_section_has_a_program():
    assert len(PROGRAMS) == PAGE.count("\n## ")
    assert {file.name for file in FOLDER.glob("*.py")} == PROGRAMS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("file", PROGRAMS)
def test_program_shows_the_fault(tmp_path, file):
    code = (FOLDER / file).read_text()
    code = code.replace("Qwen/Qwen2.5-0.5B-Instruct", str(MODEL))  # the hub is not asked
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert PROGRAMS[file] in ended.stdout, ended.stdout + ended.stderr[-2000:]

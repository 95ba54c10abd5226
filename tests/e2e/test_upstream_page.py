"""The programs of docs/upstream.md show faults of the installed Axolotl and TRL."""

import re
import subprocess
import sys

import pytest

from tests.conftest import MODEL
from tests.e2e.conftest import ROOT, environment

PAGE = (ROOT / "docs" / "upstream.md").read_text()
SECTION = re.compile(r"^## (.+?)$.+?^```python\n(.+?)^```\n\nIt prints `(.+?)`\.", re.MULTILINE | re.DOTALL)
PROGRAMS = {title: (code, printed) for title, code, printed in SECTION.findall(PAGE)}


def test_each_section_has_a_program():
    assert len(PROGRAMS) == PAGE.count("\n## ")


@pytest.mark.slow
@pytest.mark.parametrize("title", PROGRAMS)
def test_program_shows_the_fault(tmp_path, title):
    code, printed = PROGRAMS[title]
    code = code.replace("Qwen/Qwen2.5-0.5B-Instruct", str(MODEL))  # the hub is not asked
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert printed in ended.stdout, ended.stdout + ended.stderr[-2000:]

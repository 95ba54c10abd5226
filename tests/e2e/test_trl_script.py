"""docs/trl_script.py trains with TRL's trainer and the packed step."""

import re
import subprocess
import sys

from tests.e2e.conftest import ROOT, environment


def test_script_of_trl_trains_with_one_changed_import(tmp_path):
    code = (ROOT / "docs" / "trl_script.py").read_text()
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert "packed step: pack, skip" in ended.stdout, ended.stdout + ended.stderr[-3000:]
    computed, by_trl = (
        [float(value) for value in re.findall(rf"'{name}': '?([\d.e+]+)", ended.stdout)]
        for name in ("tokens/computed", "tokens/computed_by_trl")
    )
    assert len(computed) == 3
    assert sum(computed) < 0.6 * sum(by_trl)

"""mypy finds nothing. Without its cache it needs half a minute of CPU time."""

import subprocess
import sys

from tests.conftest import ROOT


def test_mypy_finds_nothing():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

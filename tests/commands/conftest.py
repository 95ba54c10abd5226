import sys
from multiprocessing import forkserver

import pytest

from tests.conftest import script


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """An empty working folder with rewards/. No module of another rewards/ is left in this process."""

    def forget_rewards():
        forkserver._forkserver._stop()  # it imported the rewards for the scoring processes
        for name in [name for name in sys.modules if name.split(".")[0] == "rewards"]:
            del sys.modules[name]

    (tmp_path / "rewards").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget_rewards()
    yield tmp_path
    forget_rewards()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The second node of a Slurm job of three."""
    script(tmp_path / "scontrol", "printf 'n1\\nn2\\nn3\\n'")
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm = {"NNODES": 3, "JOB_NODELIST": "n[1-3]", "STEP_NUM_NODES": 3, "NODEID": 1, "JOB_ID": 7}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))

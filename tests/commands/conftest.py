import sys
from multiprocessing import forkserver

import pytest


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

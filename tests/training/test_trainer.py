"""The choice of a trainer."""

from importlib import import_module

import pytest

from axolotl_grpo_plugin.config import Config
from tests.conftest import refused

OURS = "axolotl_grpo_plugin.training.trainer"


@pytest.mark.parametrize("path", ["no_such_module.Trainer", "os.NoTrainer", "os.path.join", "collections.Counter"])
def test_refuses_a_trainer_that_is_none_of_trls(path):
    with refused("no-grpo-trainer"):
        import_module(OURS).choose_trainer(Config({"trainer_cls": path}))


def test_takes_a_trainer_that_derives_from_ours(monkeypatch):
    trainers = import_module(OURS)
    monkeypatch.setattr(trainers, "chosen", None)
    trainers.choose_trainer(Config({"trainer_cls": f"{OURS}.SynchronousTrainer"}))
    assert trainers.chosen.__mro__[1] is trainers.SynchronousTrainer

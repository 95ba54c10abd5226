"""A signal before the first step ends the run without a model; later, Axolotl saves it."""

import signal
from types import SimpleNamespace

import pytest

from tests.conftest import Later

first_step = Later("axolotl_grpo_plugin.training.first_step")


@pytest.fixture
def saved():
    """The numbers of the signals on which Axolotl's handler, which this stands for, saved the model."""
    numbers = []

    def handler(number, _):
        numbers.append(number)

    handler.__module__ = "axolotl.train"
    before = signal.signal(signal.SIGINT, handler)
    yield numbers
    signal.signal(signal.SIGINT, before)


def begin(step):
    callback = first_step.BeforeFirstStep()
    callback.on_train_begin(None, SimpleNamespace(global_step=step), None)
    return callback


def test_no_model_is_saved_before_the_first_step(saved, capsys):
    begin(0)
    with pytest.raises(SystemExit) as stopped:
        signal.raise_signal(signal.SIGINT)
    assert (stopped.value.code, saved) == (130, [])
    assert "stopped before step 1: no model and no card are written" in capsys.readouterr().err


def test_model_is_saved_after_it(saved):
    begin(0).on_step_end(None, None, None)
    signal.raise_signal(signal.SIGINT)
    assert saved == [signal.SIGINT]


def test_model_of_a_checkpoint_is_saved(saved):
    begin(6)
    signal.raise_signal(signal.SIGINT)
    assert saved == [signal.SIGINT]


def test_handler_of_others_stays():
    before = signal.getsignal(signal.SIGINT)
    begin(0)
    assert signal.getsignal(signal.SIGINT) is before

"""The best model of a run: which step it is, and that a kill leaves a whole one."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.training.record import facts
from tests.conftest import Later

best = Later("axolotl_grpo_plugin.training.best")
REWARD = "correctness"


def metrics(greedy, sampled, kind="right"):
    return {f"held_out/greedy/{REWARD}/{kind}": greedy, f"held_out/sampled/{REWARD}/{kind}": sampled}


def result(step, greedy, sampled=0.5):
    return best.Result.of(metrics(greedy, sampled), REWARD, step)


@pytest.fixture
def model(tmp_path):
    """The best model of a run, whose trainer writes its step as the weights."""
    state = SimpleNamespace(global_step=0)

    def save(folder, _internal_call):
        with open(f"{folder}/model.safetensors", "w") as file:
            file.write(str(state.global_step))

    trainer = SimpleNamespace(
        args=SimpleNamespace(output_dir=str(tmp_path)),
        accelerator=SimpleNamespace(is_main_process=True, wait_for_everyone=nullcontext),
        is_fsdp_enabled=False,
        state=state,
        save_model=save,
    )
    return best.BestModel(trainer)


def offer(model, step, *shares):
    model.trainer.state.global_step = step
    model.offer(result(step, *shares))


def weights(model):
    return (model.folder / "model.safetensors").read_text()


@pytest.mark.parametrize(
    ("shares", "kept"),
    [
        ([(0.1,), (0.5,), (0.4,)], "20"),
        ([(0.5,), (0.5,)], "10"),  # the earlier of two equal ones
        ([(0.5, 0.1), (0.5, 0.2)], "20"),  # sampled answers decide
    ],
)
def test_keeps_the_step_with_the_most_right_answers(model, shares, kept):
    for number, each in enumerate(shares, 1):
        offer(model, 10 * number, *each)
    assert weights(model) == kept
    assert facts(model.folder.parent)["Best held-out answers"].startswith(f"step {kept}: ")
    assert [path.name for path in model.folder.parent.iterdir() if path.is_dir()] == ["best"]


def test_mean_counts_if_no_range_is_declared():
    found = best.Result.of(metrics(1.5, 1.0, "mean"), REWARD, 3)
    assert str(found) == "step 3: mean 1.500, greedy (1.000 sampled)"
    assert best.Result.of({}, REWARD, 3) is None


def test_resumed_run_goes_on_with_the_best_so_far(model):
    offer(model, 10, 0.5)
    resumed = best.BestModel(model.trainer)
    resumed.begin()
    assert resumed.best == result(10, 0.5)
    offer(resumed, 20, 0.4)
    assert weights(model) == "10"


def test_kill_between_the_two_renames_loses_no_model(model):
    offer(model, 10, 0.5)
    model.folder.rename(model.folder.with_name("best.before"))
    resumed = best.BestModel(model.trainer)
    resumed.begin()
    assert resumed.best.step == 10 and weights(model) == "10"


def test_new_run_does_not_compare_with_an_earlier_one(model):
    offer(model, 10, 0.9)
    again = best.BestModel(model.trainer)
    model.trainer.state.global_step = 0
    again.begin()
    assert weights(model) == "10" and best.best_in(model.folder.parent) is None
    offer(again, 5, 0.1)
    assert weights(model) == "5" and json.loads((model.folder / "best.json").read_text())["greedy"] == 0.1

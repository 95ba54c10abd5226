"""A resume goes on exactly: from the newest whole checkpoint, inside a generation batch, and not behind the end."""

import json
import random
import shutil
import signal
import time

import pytest

from axolotl_grpo_plugin.output.lock import LOCK
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from tests.conftest import mounted_disk
from tests.e2e.conftest import axolotl, disturb, rollouts, same_training, shipped_config, write

SAVED, STEPS = 3, 8
PER_BATCH = 4  # steps that train on a generation batch: 2 parts, each of them twice
AUTO = "--auto-resume-from-checkpoints"
KILLS = 30
ENDS = ("SIGKILL", "SIGINT", "full disk")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = shipped_config(
        trl__num_iterations=2,
        trl__generation_batch_size=32,
        grpo_rollouts=True,
        grpo_held_out_rows=None,
        test_datasets=None,
        micro_batch_size=16,
        max_steps=STEPS,
        save_strategy="steps",
        save_steps=SAVED,
    )
    return write(tmp_path_factory.mktemp("resume"), config)


@pytest.fixture(scope="module")
def whole(config):
    """The output folder of an undisturbed run."""
    folder = config.parent / "whole"
    axolotl("train", config, "--output-dir", folder)
    return folder


@pytest.fixture(scope="module")
def resumed(config, whole):
    """The folder of a run that goes on after a kill in its second checkpoint, and the screen of the resume.

    The kill came when the first rank had written its last file, and another rank had not.
    """
    folder = config.parent / "resumed"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / f"checkpoint-{STEPS}")
    (folder / "model.safetensors").unlink()
    batch = folder / f"checkpoint-{2 * SAVED}" / "generation_batch_0_of_1.pt"
    batch.write_bytes(batch.read_bytes()[:3000])
    return folder, axolotl("train", config, "--output-dir", folder, AUTO)


def prompts(folder, attempt):
    """Return the sorted prompts of each generation batch of an attempt, by its first step."""
    table = rollouts(folder)
    return table[table["attempt"] == attempt].groupby("step")["prompt"].agg(sorted).to_dict()


def test_checkpoint_that_is_not_whole_is_left_out_by_name(resumed):
    what = f"checkpoint-{2 * SAVED} is left out, because generation_batch_0_of_1.pt is cut"
    assert f"{what}. The run goes on from checkpoint-{SAVED}." in resumed[1]


def test_no_batch_is_generated_before_the_saved_one_is_used_up(whole, resumed):
    assert list(prompts(whole, 1)) == [1, 1 + PER_BATCH]
    assert list(prompts(resumed[0], 2)) == [1 + PER_BATCH]


def test_resumed_run_ends_as_the_undisturbed_one(whole, resumed):
    same_training(whole, resumed[0])
    assert not (resumed[0] / LOCK).exists()


def test_only_a_checkpoint_inside_a_batch_has_a_batch(whole):
    assert [file.parent.name for file in sorted(whole.rglob("generation_batch_*"))] == [
        f"checkpoint-{SAVED}",
        f"checkpoint-{2 * SAVED}",
    ]


def contents(folder):
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "debug.log"]
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


@pytest.mark.slow
def test_finished_run_has_nothing_to_do(config, whole):
    before = contents(whole)
    printed = axolotl("train", config, "--output-dir", whole, AUTO)
    assert f"nothing to do: checkpoint-{STEPS} is the end (max_steps {STEPS})" in printed
    assert contents(whole) == before


@pytest.mark.slow
def test_run_that_was_killed_after_its_last_step_only_saves(config, whole, tmp_path):
    folder = tmp_path / "saves"
    shutil.copytree(whole, folder)
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({name: fact for name, fact in facts.items() if name != "Ended"}))
    axolotl("train", config, "--output-dir", folder, AUTO)
    same_training(whole, folder)
    assert rollout_files(folder) == rollout_files(folder)._replace(left_out=[], unreadable={}, ends={})


@pytest.mark.slow
def test_run_that_is_stopped_before_its_first_step_writes_no_model(tmp_path):
    config = write(tmp_path, shipped_config(max_steps=2))
    folder = tmp_path / "out"

    def answers(ending):
        assert not ending.done(), ending.result().output[-6000:]
        return (folder / "run.yaml").exists() and time.time() > (folder / "run.yaml").stat().st_mtime + 2

    ended = disturb(
        "train", config, "--output-dir", folder, when=answers, act=lambda process: process.send_signal(signal.SIGINT)
    )
    assert "stopped before step 1: no model and no card are written" in ended.output
    assert ended.returncode == 130 and not list(folder.glob("*.safetensors")) + list(folder.glob("README.md"))


@pytest.fixture
def disk(tmp_path):
    """A disk of 100 MB for a run's folder."""
    with mounted_disk(tmp_path / "disk", "100m") as folder:
        yield folder


def fill(filler):
    """Fill a disk to its last byte."""
    with filler.open("wb", buffering=0) as opened:
        try:
            while True:
                opened.write(bytes(4096))
        except OSError:
            pass


@pytest.mark.slow
@pytest.mark.parametrize("number, end", [(number, ENDS[number % 3]) for number in range(KILLS)])
def test_run_that_ends_at_a_random_moment_goes_on_exactly(config, whole, tmp_path, request, number, end):
    """`axolotl-grpo train` passes SIGTERM on to the trainer as SIGINT, after which Axolotl saves the model."""
    folder = (request.getfixturevalue("disk") if end == "full disk" else tmp_path) / "out"
    began = (whole / "run.yaml").stat().st_mtime
    ended = (whole / "run.json").stat().st_mtime
    moment = random.Random(number).uniform(0, 1.1 * (ended - began))
    started = []

    def is_time(ending):
        if not started and (folder / "run.yaml").exists():
            started.append(time.monotonic())
        return ending.done() or (started and time.monotonic() > started[0] + moment)

    acts = {
        "SIGKILL": lambda process: process.kill(),
        "SIGINT": lambda process: process.send_signal(signal.SIGINT),
        "full disk": lambda _: fill(folder.parent / "filler"),
    }
    disturb("train", config, "--output-dir", folder, when=is_time, act=acts[end])
    (folder.parent / "filler").unlink(missing_ok=True)
    axolotl("train", config, "--output-dir", folder, AUTO)
    same_training(whole, folder)

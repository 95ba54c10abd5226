import json
import os
import shutil
import subprocess
import sys
from statistics import fmean
from zipfile import ZipFile

import pytest

from axolotl_grpo_plugin.training.held_out import read_changes
from tests.e2e.conftest import ROOT, axolotl, environment, finish, start

UV = os.environ.get("UV", "uv")


def of_seed(seed):
    """The parameter of `run`; the tests of one seed are one worker's."""
    group = pytest.mark.xdist_group(f"quickstart, seed {seed}")
    return pytest.param(seed, marks=(group, pytest.mark.seconds(100)))


@pytest.fixture(scope="module", params=[of_seed(1), pytest.param(2, marks=pytest.mark.slow)])
def run(request, tmp_path_factory):
    """The README's command with a seed: the seed, the run's folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / f"seed{request.param}"
    more = ("--seed", request.param, "--output-dir", folder, "--max-steps", 100)
    saving = ("--save-strategy", "steps", "--save-steps", 100)
    return request.param, folder, finish(start("train", "configs/quickstart.yaml", *more, *saving))


def test_held_out_correctness_rises(run):
    _, folder, _ = run
    changes = {
        change.mode: change
        for change in read_changes(folder / "held_out.jsonl")
        if change.reward == "correctness_reward_func"
    }
    assert changes.keys() == {"greedy", "sampled"}
    for change in changes.values():
        assert change.rows >= 200
        assert change.low > 0.0, change


def test_the_reward_rises(run):
    _, folder, _ = run
    state = json.loads((folder / "checkpoint-100" / "trainer_state.json").read_text())
    rewards = [log["reward"] for log in state["log_history"] if "reward" in log]
    assert len(rewards) == 100
    assert fmean(rewards[-20:]) > fmean(rewards[:20]) + 0.3


def test_prints_curves_and_held_out_scores(run):
    _, folder, printed = run
    assert "reward=" in printed and "correctness=" in printed  # the progress bar
    assert "▁" in printed and "█" in printed  # the curve
    assert "234 held-out rows, before and after training" in printed
    assert "correctness: right" in printed
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list(folder.rglob("events.out.tfevents.*"))
    assert len(list((folder / "completions").glob("*.parquet"))) == 100


def test_a_resumed_run_keeps_its_earlier_answers(run, tmp_path):
    seed, ran, _ = run
    folder = tmp_path / "resumed"
    shutil.copytree(ran, folder)
    first = (folder / "held_out.jsonl").read_text().splitlines()
    more = ("--seed", seed, "--output-dir", folder, "--max-steps", 102)
    saving = ("--save-strategy", "steps", "--save-steps", 102)
    resumed = ("--resume-from-checkpoint", folder / "checkpoint-100")
    axolotl("train", "configs/quickstart.yaml", *more, *saving, *resumed)
    lines = (folder / "held_out.jsonl").read_text().splitlines()
    assert lines[: len(first)] == first
    assert {json.loads(line)["when"] for line in lines[len(first) :]} == {"after"}
    assert all(change.rows == 234 for change in read_changes(folder / "held_out.jsonl"))
    state = json.loads((folder / "checkpoint-102" / "trainer_state.json").read_text())
    steps = [log["step"] for log in state["log_history"] if "reward" in log]
    assert steps == list(range(1, 103))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with the built wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [UV, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    return folder


def test_the_wheel_holds_configs_rewards_and_the_quickstart_model(wheels):
    (wheel,) = wheels.glob("*.whl")
    held = set(ZipFile(wheel).namelist())
    folders = {"configs": "pack/configs", "rewards": "pack/rewards"}
    folders["axolotl_grpo_plugin/quickstart"] = "quickstart"
    for folder, inside in folders.items():
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                name = file.relative_to(ROOT / folder).as_posix()
                assert f"axolotl_grpo_plugin/{inside}/{name}" in held
    assert "axolotl_grpo_plugin/pack/cloud.yaml" in held


@pytest.mark.slow
def test_the_built_wheel_trains_from_an_empty_folder(tmp_path, wheels):
    empty = tmp_path / "empty"
    empty.mkdir()
    installed = tmp_path / "venv"
    python = installed / "bin" / "python"
    for command in (
        [UV, "venv", "--quiet", "--python", sys.executable, installed],
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "axolotl-grpo-plugin",
            "--find-links",
            wheels,
        ],
    ):
        subprocess.run(list(map(str, command)), check=True)
    path = f"{installed / 'bin'}:{environment()['PATH']}"
    own = {"cwd": empty, "PATH": path, "PYTHONPYCACHEPREFIX": ""}  # it is thrown away with its venv
    shown = axolotl_of(installed, "grpo", "fetch", **own)
    assert "wrote    configs/quickstart.yaml" in shown
    assert (empty / "rewards" / "true_equation.py").exists()
    again = axolotl_of(installed, "grpo", "fetch", **own)
    assert "kept     configs/quickstart.yaml" in again
    shown = axolotl_of(installed, "train", "configs/quickstart.yaml", "--max-steps", "3", **own)
    assert "3/3" in shown and "held-out rows" in shown
    assert (empty / "outputs" / "quickstart" / "model.safetensors").exists()


def axolotl_of(venv, *arguments, cwd, **more):
    done = subprocess.run(
        [str(venv / "bin" / "axolotl"), *arguments],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_ones_own_reward_trains_and_is_logged(tmp_path):
    arguments = (
        "--max-steps",
        3,
        "--save-strategy",
        "steps",
        "--save-steps",
        3,
        "--output-dir",
        tmp_path,
    )
    axolotl("train", "configs/quickstart-own-reward.yaml", *arguments)
    state = json.loads((tmp_path / "checkpoint-3" / "trainer_state.json").read_text())
    means = [log["rewards/true_equation_reward_func/mean"] for log in state["log_history"][:3]]
    assert all(0.0 < mean <= 0.5 for mean in means)

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

import pytest

from axolotl_grpo_plugin.held_out import read_changes
from tests.e2e.conftest import ROOT, axolotl, environment, finish, start

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The quickstart with two seeds, a core each: (output folder, what it printed)."""
    folders = {seed: tmp_path_factory.mktemp("runs") / f"seed{seed}" for seed in SEEDS}
    saving = ("--max-steps", 100, "--save-strategy", "steps", "--save-steps", 100)
    running = {
        seed: start(
            "train", "configs/quickstart.yaml", "--seed", seed, "--output-dir", folder, *saving
        )
        for seed, folder in folders.items()
    }
    with ThreadPoolExecutor() as threads:  # their pipes are read at the same time
        printed = dict(zip(SEEDS, threads.map(finish, running.values()), strict=True))
    return {seed: (folders[seed], printed[seed]) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_correctness_rises(runs, seed):
    folder, _ = runs[seed]
    changes = {
        change.mode: change
        for change in read_changes(folder / "held_out.jsonl")
        if change.reward == "correctness_reward_func"
    }
    assert changes.keys() == {"greedy", "sampled"}
    for change in changes.values():
        assert change.rows >= 200
        assert change.low > 0.0, change


@pytest.mark.parametrize("seed", SEEDS)
def test_the_reward_rises(runs, seed):
    folder, _ = runs[seed]
    state = json.loads((folder / "checkpoint-100" / "trainer_state.json").read_text())
    rewards = [log["reward"] for log in state["log_history"] if "reward" in log]
    assert len(rewards) == 100
    assert fmean(rewards[-20:]) > fmean(rewards[:20]) + 0.3


def test_what_a_user_sees(runs):
    folder, printed = runs[SEEDS[0]]
    assert "reward=" in printed and "correctness=" in printed  # the progress bar
    assert "▁" in printed and "█" in printed  # the curve
    assert "234 held-out rows, before and after training" in printed
    assert "correctness: right" in printed
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list(folder.rglob("events.out.tfevents.*"))
    assert len(list((folder / "completions").glob("*.parquet"))) == 100


def test_a_resumed_run_keeps_what_it_knew_before(tmp_path):
    arguments = (
        "configs/quickstart.yaml",
        "--output-dir",
        tmp_path,
        "--save-strategy",
        "steps",
        "--save-steps",
        2,
    )
    axolotl("train", *arguments, "--max-steps", 2)
    first = (tmp_path / "held_out.jsonl").read_text().splitlines()
    axolotl(
        "train", *arguments, "--max-steps", 4, "--resume-from-checkpoint", tmp_path / "checkpoint-2"
    )
    lines = (tmp_path / "held_out.jsonl").read_text().splitlines()
    assert lines[: len(first)] == first
    assert {json.loads(line)["when"] for line in lines[len(first) :]} == {"after"}
    assert all(change.rows == 234 for change in read_changes(tmp_path / "held_out.jsonl"))
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "reward" in log] == [1, 2, 3, 4]


def test_the_built_wheel_trains_from_an_empty_folder(tmp_path):
    wheels, empty = tmp_path / "wheels", tmp_path / "empty"
    empty.mkdir()
    installed = tmp_path / "venv"
    python = installed / "bin" / "python"
    uv = os.environ.get("UV", "uv")
    for command in (
        [uv, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT],
        [uv, "venv", "--quiet", "--python", sys.executable, installed],
        [
            uv,
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
    shown = axolotl_of(installed, "grpo", "fetch", cwd=empty, PATH=path)
    assert "wrote    configs/quickstart.yaml" in shown
    assert (empty / "rewards" / "true_equation.py").exists()
    again = axolotl_of(installed, "grpo", "fetch", cwd=empty, PATH=path)
    assert "kept     configs/quickstart.yaml" in again
    shown = axolotl_of(
        installed, "train", "configs/quickstart.yaml", "--max-steps", "3", cwd=empty, PATH=path
    )
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

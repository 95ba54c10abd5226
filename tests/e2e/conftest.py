"""Run Axolotl's command line with real models and data, and read what a run wrote."""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import yaml
from filelock import FileLock

from axolotl_grpo_plugin.output.checkpoints import checkpoints_in
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.training.record import HELD_OUT
from tests.e2e import vllm_on_cpu

ROOT = Path(__file__).parents[2]


def environment(**more):
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


def start(*arguments, cwd=ROOT, start_new_session=False, **more):
    """Start `axolotl ARGUMENTS` as a user does; its output goes to one pipe."""
    return subprocess.Popen(
        ["axolotl", *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=start_new_session,
    )


def finish(process, returncode=0):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == returncode, output[-6000:]
    return output


@cache
def _fork_server():
    """Start one per worker. It ends with this process, which closes its standard input."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forks.py")],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Ended(NamedTuple):
    """A process that has ended. `pid` was also the number of its session."""

    pid: int
    returncode: int
    output: str


def fork(*arguments, cwd=ROOT, **more):
    """Run `axolotl ARGUMENTS` to its end in a fork of a process that has imported Axolotl already."""
    words = ["axolotl", *map(str, arguments)]
    if arguments[0] == "train" and not {"--launcher", "--cloud"} & set(words):
        words += ["--launcher", "python"]  # `accelerate launch` would import Axolotl again
    server = _fork_server()
    with tempfile.NamedTemporaryFile("r", errors="replace") as output:
        request = {"argv": words, "cwd": str(cwd), "env": environment(**more)}
        print(json.dumps({**request, "output": output.name}), file=server.stdin, flush=True)
        return Ended(*json.loads(server.stdout.readline()), output.read())


def kill(*arguments, when):
    """`fork`, and kill the process when `when()` is true. Return how it ended."""

    def check(ending):
        assert not ending.done(), ending.result().output[-6000:]
        return when()

    return disturb(*arguments, when=check, act=lambda process: process.kill())


def disturb(*arguments, when, act):
    """`fork`, and call `act(process)` when `when(future of its end)` is true. Return how it ended."""
    with ThreadPoolExecutor() as threads:
        ending = threads.submit(fork, *arguments)
        while not when(ending):
            time.sleep(0.01)
        for process in psutil.Process(_fork_server().pid).children():
            act(process)
    return ending.result()


def same_training(folder, other):
    """Check that two runs have the same last weights, optimizer state and rollouts, bit for bit."""
    import torch
    from safetensors.torch import load_file

    def equal(one, two):
        if isinstance(one, dict):
            return one.keys() == two.keys() and all(equal(value, two[key]) for key, value in one.items())
        if isinstance(one, list | tuple):
            return len(one) == len(two) and all(map(equal, one, two))
        return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two

    def optimizer(run):
        return torch.load(checkpoints_in(run)[-1] / "optimizer.pt")

    def logged(run):
        rows = rollout_files(run).rows()
        return [{name: value for name, value in row.items() if name not in ("attempt", "group")} for row in rows]

    assert checkpoints_in(folder)[-1].name == checkpoints_in(other)[-1].name
    assert equal(load_file(folder / "model.safetensors"), load_file(other / "model.safetensors"))
    assert equal(optimizer(folder), optimizer(other))
    assert logged(folder) == logged(other)


def axolotl(*arguments, returncode=0, **options):
    """`fork` and check the exit code. Return the output."""
    ended = fork(*arguments, **options)
    assert ended.returncode == returncode, ended.output[-6000:]
    return ended.output


def torchrun(script, folder, *arguments, **more):
    """Run a script of this folder on two ranks, and check the exit code."""
    here = Path(__file__).parent
    command = [sys.executable, here / "ranks.py", here / script, folder, *arguments]
    env = environment(PYTHONPATH=str(ROOT), **more)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-6000:]


def shipped_config(name="quickstart", **changes):
    """Return a config of the pack with other values. The change `trl__beta` sets trl.beta."""
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            config[outer][inner] = value
        else:
            config[outer] = value
    return config


def write(folder, config):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({k: value for k, value in config.items() if value is not None}))
    return file


def train(config, folder, steps=2, **options):
    """Train a config, with `folder` as its output_dir. Return the run's rollouts as dictionaries."""
    axolotl("train", config, "--max-steps", steps, "--output-dir", folder, **options)
    table = rollouts(folder)
    assert {*table["step"]} == {*range(1, steps + 1)}
    return table.to_dict("records")


def history(folder, step):
    """Return the logs of a run's steps until its checkpoint of a step."""
    state = json.loads((folder / f"checkpoint-{step}" / "trainer_state.json").read_text())
    return [log for log in state["log_history"] if "reward" in log]


def rollouts(folder):
    """Return a run's rollouts as pandas' DataFrame."""
    import pandas as pd

    files = sorted(folder.glob("rollouts/train/*.parquet"))
    return pd.concat(map(pd.read_parquet, files), ignore_index=True)


def curves(folder):
    """Return the values of each curve in a run's TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.glob("runs/*/events.*")
    log = EventAccumulator(str(events)).Reload()
    names = log.Tags()["scalars"]
    return {name.removeprefix("train/"): [event.value for event in log.Scalars(name)] for name in names}


def held_out(folder, reward):
    """Return a reward's change on held-out rows, greedy and sampled."""
    from axolotl_grpo_plugin.training.held_out import compared

    found = {}
    for part in compared(folder / HELD_OUT):
        for change in part["differences"]:
            if (change["reward"], change["of"]) == (reward, "mean"):
                found[part["mode"]] = change
    assert found.keys() == {"greedy", "sampled"}
    return found


def held_out_answers(folder):
    """Return the answers to the held-out rows of a run."""
    return list(read(folder / HELD_OUT))


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """SmolLM2-135M-Instruct as `axolotl-grpo fetch smollm2` makes it; kept between runs in models/."""
    folder = ROOT / "models" / "smollm2-135m-instruct"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # only one of two workers makes it
        if not (folder / "config.json").exists():
            axolotl("grpo", "fetch", "smollm2", "--out", folder)
    return folder


@pytest.fixture(scope="session")
def vllm():
    """The Python of an environment with vLLM; kept between runs in build/."""
    folder = ROOT / "build" / "vllm-on-cpu"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        return vllm_on_cpu.build(folder)


@pytest.fixture(scope="session")
def gsm8k():
    folder = os.environ.get("GSM8K_DIR")
    if not folder or not (Path(folder) / "train.jsonl").exists():
        pytest.skip("set GSM8K_DIR to a folder with GSM8K's train.jsonl and test.jsonl")
    return Path(folder)

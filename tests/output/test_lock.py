"""One run at a time in a folder; a run that was killed keeps nobody out."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from axolotl_grpo_plugin.checks.reuse import check_unused
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.output.lock import LOCK, Holder, check_unlocked, release, take
from tests.conftest import refused

TAKES = """
import sys, time
from pathlib import Path
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.output.lock import take
sys.stdin.readline()
try:
    take(Path(sys.argv[1]), "output_dir")
    print("taken", flush=True)
    sys.stdin.readline()
except FindingError as error:
    print(error.finding.code, flush=True)
"""


def start(folder):
    """Start a process that takes the lock when a line comes, and ends at the next line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", TAKES, str(folder)], **pipes)


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def other(tmp_path):
    """A living process that has the lock."""
    process = start(tmp_path)
    tell(process)
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()


def rewrite(folder, **changes):
    file = folder / LOCK
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def codes_of(folder, **options):
    return [finding.code for finding in check_unlocked(folder, "output_dir", **options)]


def test_living_process_keeps_others_out_until_it_ends(tmp_path, other):
    (finding,) = check_unused(Config({"output_dir": str(tmp_path)}))
    assert f"({tmp_path}): in use by process {other.pid} on " in str(finding)
    with refused("output-in-use", f"process {other.pid} on"):
        take(tmp_path, "output_dir")
    tell(other)
    other.wait(30)
    assert not codes_of(tmp_path) and not (tmp_path / LOCK).exists()
    take(tmp_path, "output_dir")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_lock_of_a_dead_process_is_taken_over(tmp_path, other, number):
    os.kill(other.pid, number)
    time.sleep(0.2)  # until then a zombie, which its parent has not asked for
    if number == signal.SIGSTOP:
        assert codes_of(tmp_path) == ["output-in-use"]
    else:
        assert not codes_of(tmp_path)
        take(tmp_path, "output_dir")


def test_later_process_with_the_number_of_the_dead_one_does_not_count(tmp_path, other):
    rewrite(tmp_path, started="an earlier time")
    assert not codes_of(tmp_path)
    take(tmp_path, "output_dir")
    assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()


def test_own_number_of_an_earlier_process_does_not_count(tmp_path):
    """A container that starts again has the same host, and gives the same numbers."""
    take(tmp_path, "output_dir")
    rewrite(tmp_path, started="an earlier time")
    take(tmp_path, "output_dir")


def test_other_host_is_named_with_the_file_to_delete(tmp_path, other):
    rewrite(tmp_path, host="node7")
    with refused("output-in-use", f"on node7 since .*delete {tmp_path / LOCK}"):
        take(tmp_path, "output_dir")
    assert not codes_of(tmp_path, only_here=True)
    (tmp_path / LOCK).unlink()
    take(tmp_path, "output_dir")


@pytest.mark.parametrize(
    "theirs, ours, codes",
    [
        (("7.0", 0), {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, []),  # another node of the run
        (("7.0", 0), {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_RESTART_COUNT": "1"}, []),  # requeued
        (("7.0", 1), {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1", "SLURM_RESTART_COUNT": "1"}, ["output-in-use"]),
        (("7.0", 0), {"SLURM_JOB_ID": "8", "SLURM_STEP_ID": "0", "SLURM_RESTART_COUNT": "1"}, ["output-in-use"]),
        (("", 0), {"SLURM_JOB_ID": "7"}, ["output-in-use"]),
    ],
)
def test_nodes_and_restarts_of_a_slurm_job(tmp_path, monkeypatch, theirs, ours, codes):
    take(tmp_path, "output_dir")
    rewrite(tmp_path, host="node7", job=theirs[0], restarts=theirs[1])
    for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    assert codes_of(tmp_path) == codes


@pytest.mark.parametrize("text", ["", '{"host": "no', "[]", "{}"])
def test_cut_lock_counts_as_none(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    take(tmp_path, "output_dir")
    release(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_only_one_of_several_takes_a_dead_lock(tmp_path):
    dead = Holder.here()._replace(started="an earlier time")
    (tmp_path / LOCK).write_text(json.dumps(dead._asdict()))
    processes = [start(tmp_path) for _ in range(6)]
    for process in processes:
        tell(process)
    answers = sorted(process.stdout.readline() for process in processes)
    for process in processes:
        process.kill()
        process.communicate()
    assert answers == ["output-in-use\n"] * 5 + ["taken\n"]


def test_folder_of_the_rollouts_is_locked_too(tmp_path, other):
    cfg = {"output_dir": str(tmp_path / "mine"), "grpo_rollouts": str(tmp_path)}
    (finding,) = check_unused(Config(cfg))
    assert finding.where == f"grpo_rollouts ({tmp_path})"

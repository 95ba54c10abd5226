"""A training on the server that `openenv init` writes. The server is killed in a call, and comes back."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import curves, environment, fork
from tests.e2e.scripted import call
from tests.e2e.test_tools import config, rollouts

pytestmark = pytest.mark.slow

# The first call of the whole run waits, so that the test can kill the server in it.
WAIT = """
        import pathlib, time
        called = pathlib.Path(__file__).with_name("called")
        if not called.exists():
            called.touch()
            time.sleep(60)
"""


def kill_server(called, running):
    while not called.exists():
        assert not running.done(), running.result().output[-6000:]
        time.sleep(0.05)
    for process in psutil.Process().children(recursive=True):
        if f"{called.parent.parent}" in process.cmdline() and "uvicorn" in process.cmdline():
            process.kill()


def test_training_goes_on_when_its_server_was_killed(tmp_path):
    binary = Path(sys.executable).with_name("openenv")
    subprocess.run([binary, "init", "echo"], cwd=tmp_path, check=True, env=environment(PATH=""))
    server = tmp_path / "echo" / "server"
    app, game = server / "app.py", server / "echo_environment.py"
    app.write_text(app.read_text().replace("max_concurrent_envs=1", "max_concurrent_envs=4"))
    line = "        message = action.message\n"
    game.write_text(game.read_text().replace(line, f"{WAIT}{line}"))
    turns = [([call("step", message="hello"), "{}"], "hello"), (["no call", "no call"], "no")]
    file = config(
        tmp_path / "run",
        turns,
        grpo_environment="axolotl_grpo_plugin.environments.openenv.OpenEnv",
        grpo_environment_args={
            "start": f"exec {sys.executable} -m uvicorn server.app:app --app-dir {tmp_path / 'echo'} --port {{port}}"
        },
        grpo_tool_limits={"seconds": 60},
        test_datasets=None,
        grpo_held_out_rows=None,
    )
    with ThreadPoolExecutor() as threads:
        running = threads.submit(fork, "train", file)
        kill_server(server / "called", running)
        ended = running.result()
    assert ended.returncode == 0, ended.output[-6000:]
    assert "ended with exit code 137. It starts again." in ended.output
    logged = curves(tmp_path / "run" / "out")
    assert logged["environment/lost"] == [2, 0]
    assert logged["tools/step/errors"] == [2, 0] and logged["tools/step/calls"] == [2, 2]
    found = rollouts(tmp_path / "run").sort_values("step")
    called = found[found["completion"].str.contains("tool_calls")]
    lost, played = called[:2], called[2:]
    assert lost["completion"].str.contains("broke").all()
    assert lost["reward/has_answer"].isna().all() and lost["reward/OpenEnv"].isna().all()
    assert (played["reward/OpenEnv"] == 0.5).all() and (played["reward/has_answer"] == 1.0).all()
    deadline = time.monotonic() + 30
    while any(str(app.parent.parent) in (each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline, "the server was left behind"
        time.sleep(0.2)

"""Calls of tools end, whatever the tools do, and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from axolotl_grpo_plugin.environments.runner import ToolRunner
from axolotl_grpo_plugin.environments.server import ToolLimits, ToolRef
from axolotl_grpo_plugin.processes import alive
from tests.serving.marks import until

PATH = "tests.environments.tools_that_fail."
ADD, FAIL, FORK, COUNTER = range(4)


@pytest.fixture(scope="module")
def runner():
    refs = [ToolRef(PATH + name, {}) for name in ("add", "fail", "fork")]
    runner = ToolRunner([*refs, ToolRef(PATH + "Counter", {"start": 5})], ToolLimits(0.5, 2 << 30, 8000))
    yield runner
    runner.close()


def add(runner):
    return runner.call("add", ADD, {"a": 1, "b": 2}).value


@pytest.mark.parametrize(
    "how, status, error",
    [
        ("raise", "error", "no such thing"),
        ("exit", "error", "SystemExit"),
        ("hang in C", "timeout", "it took more than 0.5 seconds"),
        ("die", "died", "its process died"),
        ("segfault", "died", "its process died"),
        ("memory", "error", "MemoryError"),
        ("10 MB", "error", "The tool returned 10,000,000 characters, and an answer may have 8,000."),
        ("bytes", "error", "The tool returned bytes, not text."),
        ("kill the server", "died", "its process died"),
        ("", "error", "The tool returned NoneType, not text."),
    ],
)
def test_failing_call_gives_an_error_and_the_next_call_works(runner, how, status, error):
    answer = runner.call("fail", FAIL, {"how": how})
    assert (answer.status, answer.error, answer.value) == (status, error, None)
    assert add(runner) == "3"


def test_text_that_is_no_unicode_is_replaced(runner):
    assert runner.call("fail", FAIL, {"how": "surrogate"}).value == "a?b"


def test_wrong_arguments_give_pythons_message(runner):
    answer = runner.call("add", ADD, {"a": 1, "c": 2})
    assert answer.error == "add() got an unexpected keyword argument 'c'"


def test_forked_process_and_temporary_file_are_removed(runner, tmp_path):
    assert runner.call("fork", FORK, {"folder": str(tmp_path)}).value == "forked"
    (file,) = tmp_path.iterdir()
    assert not Path("/proc", file.name).exists()
    assert not any(Path(runner._folder).glob("*/*"))


def test_fork_that_returns_twice_gives_one_answer(runner):
    assert runner.call("fail", FAIL, {"how": "fork and return"}).value == "forked"
    assert runner.call("fail", FAIL, {"how": "surrogate"}).value == "a?b"


def test_object_of_a_class_keeps_its_state_until_it_is_killed(runner):
    def count(**how):
        return runner.call("Counter", COUNTER, how, "__call__")

    assert [count().value, count().value] == ["6", "7"]
    assert count(how="die").status == "died"
    assert count().value == "6"


def test_call_of_an_ended_object_does_not_start_another(runner):
    answer = runner.call("Counter", COUNTER, {}, "__call__", slot="new", make=False)
    assert answer.status == "gone"


def test_large_arguments_arrive(runner):
    assert runner.call("add", ADD, {"a": "x" * 3_000_000, "b": 1}).error.startswith("can only conc")


def test_close_ends_all_processes_and_removes_their_files():
    runner = ToolRunner([ToolRef(PATH + "Counter", {})], ToolLimits(0.5, 2 << 30, 8000))
    runner.call("Counter", 0, {}, "__call__")
    server = psutil.Process(runner._process.pid)
    processes = [server, *server.children(recursive=True)]
    assert len(processes) == 2
    runner.close()
    assert not any(alive(process.pid) for process in processes) and not os.path.exists(runner._folder)


def test_killed_trainer_leaves_nothing_behind():
    script = f"""if True:
        from axolotl_grpo_plugin.environments.runner import *
        runner = ToolRunner([ToolRef("{PATH}Counter", {{}})], ToolLimits(0.5, 2 << 30, 8000))
        runner.call("Counter", 0, {{}}, "__call__")
        print(runner._folder, runner._process.pid, flush=True)
        time.sleep(100)"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        folder, server = trainer.stdout.readline().split()
        trainer.kill()
    until(lambda: not os.path.exists(folder) and not alive(int(server)))

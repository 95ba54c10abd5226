"""Signals of a rank that shares its model. tests/engines has real ranks."""

from types import SimpleNamespace

import pytest

from tests.conftest import Later, program

answers = Later("axolotl_grpo_plugin.training.held_out_answers")

RANK = """
import os, signal, time
from types import SimpleNamespace
from axolotl_grpo_plugin.training.ending import CollectiveEnd

accelerator = SimpleNamespace(is_local_main_process=True)
end = CollectiveEnd(SimpleNamespace(accelerator=accelerator, args=SimpleNamespace(output_dir=".")))
source, sink = os.pipe()

def fork(begin):
    pid = os.fork()
    if pid == 0:
        begin()
        os.dup2(1, 2)
        os.write(sink, b".")
        time.sleep(300)
    os.read(source, 1)
    return pid

def ended(pid, pause):
    while True:
        os.kill(pid, signal.SIGTERM)
        time.sleep(pause)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)

rank = fork(end.hear_signals)
for _ in range(2):  # the second one is forwarded by a launcher
    os.kill(rank, signal.SIGTERM)
print(ended(rank, 1.5))
end.hear_signals()
print(ended(fork(lambda: None), 0.2), end._signal)
"""


def test_a_rank_ends_on_the_second_signal_and_its_forks_on_the_first(tmp_path):
    printed = program(RANK, tmp_path).splitlines()
    assert [line for line in printed if line] == [
        "axolotl-grpo-plugin: SIGTERM: the step ends, and all ranks save. Another signal ends it at once.",
        "axolotl-grpo-plugin: SIGTERM: the run ends at once. In ., there is no checkpoint, and no model is saved.",
        "143",
        "-15 0",
    ]


def test_a_signal_at_a_step_of_held_out_rows_saves_at_once():
    """Else the rows are answered first, and the cluster's patience ends before the save."""
    held_out = answers.HeldOut.__new__(answers.HeldOut)
    held_out.steps = 2
    held_out.trainer = SimpleNamespace(ends_on_signal=True)
    held_out._answer = lambda _: pytest.fail("it answers the rows")
    held_out.on_step_end(None, SimpleNamespace(global_step=4, max_steps=10), None)

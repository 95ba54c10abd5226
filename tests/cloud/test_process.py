"""Interruptions as Modal makes them: SIGINT at preemption, SIGUSR1 for a call that is cancelled."""

import json
import signal
import time

import pytest

from axolotl_grpo_plugin.cloud.resume import STATE
from tests.cloud.container import Container

# Axolotl under a launcher: the rank saves on SIGINT and ends with 0, its parent ends at once.
SAVES = """
import os, signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(0.5)
    Path("outputs/a/saved").touch()
    print("saved")
    sys.exit(0)

if os.fork():
    signal.pause()
signal.signal(signal.SIGINT, save)
print("trains")
time.sleep(600)
"""
# It ignores all but SIGKILL, and so does a grandchild in a session of its own.
STUBBORN = """
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if not os.fork():
    os.setsid()
print("trains")
time.sleep(600)
"""
LEAVES_ONE_BEHIND = """
import os, time
if not os.fork():
    os.setsid()
    time.sleep(600)
"""


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    for each in made.processes():
        each.kill()


@pytest.mark.parametrize(
    ("number", "raised", "options"),
    [
        (signal.SIGINT, "KeyboardInterrupt", ()),
        (signal.SIGUSR1, "InputCancellation", ()),
        (signal.SIGTERM, "KeyboardInterrupt", ()),
        (signal.SIGINT, "KeyboardInterrupt", ("--no-adoption",)),
    ],
    ids=["preempted", "cancelled", "ended as by Docker", "preempted on an older gVisor"],
)
def test_an_interrupted_run_saves_and_the_exception_goes_on(container, number, raised, options):
    container.axolotl(SAVES).options = options
    said = container.start().until("trains").signal(number).end()
    assert (container.output / "saved").exists() and "saved\n" in said
    assert said.splitlines()[-1].startswith((raised, f"modal.exception.{raised}"))
    assert "committed" not in said  # as Modal itself does, once the exception is out
    assert json.loads((container.output / STATE).read_text())["finished"] is False
    assert container.left() == []


def test_what_does_not_end_is_killed(container):
    container.axolotl(STUBBORN)
    container.start().until("trains")
    before = time.monotonic()
    container.signal(signal.SIGINT).end()
    assert 1.5 < time.monotonic() - before < 15  # the test's SAVING, and not for ever
    assert container.left() == []


def test_a_second_interruption_leaves_nothing_behind(container):
    container.axolotl(STUBBORN)
    container.start().until("trains").signal(signal.SIGUSR1)
    time.sleep(0.5)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        container.signal(number)
    said = container.end()
    assert "KeyboardInterrupt" not in said and "InputCancellation" in said
    assert container.left() == []


def test_a_run_is_told_when_its_container_is_killed(container):
    """It is ours that then ends all below: see tests/serving/test_supervisor.py."""
    container.axolotl("import time; print('trains'); time.sleep(600)")
    container.start().until("trains").signal(signal.SIGKILL).end()
    deadline = time.monotonic() + 10
    while container.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert container.left() == []


def test_what_a_run_leaves_behind_ends_with_it(container):
    container.axolotl(LEAVES_ONE_BEHIND)
    before = time.monotonic()
    assert container.run().endswith("returned 0\n")
    assert container.left() == [] and time.monotonic() - before < 30


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "ended by SIGKILL (memory ran out, most often: raise `memory` in"),
        (signal.SIGSEGV, "ended by SIGSEGV\n"),
    ],
)
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), {0})", "sys.exit(128 + {0})"])
def test_a_signal_is_put_in_words(container, number, words, how):
    container.axolotl(f"import os, sys; {how.format(int(number))}")
    said = container.run()
    assert f"axolotl-grpo-plugin: axolotl was {words}" in said
    assert said.endswith(f"returned {128 + number}\n")


@pytest.mark.parametrize("code", [1, 2, 127, 128, 255])
def test_other_exit_codes_are_no_signals(container, code):
    container.axolotl(f"raise SystemExit({code})")
    assert container.run() == f"committed runs\nreturned {code}\n"

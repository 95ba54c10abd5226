"""Each scenario of a run on Modal: what Modal or the user does, and what the user sees."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import NamedTuple
from unittest.mock import Mock

from grpclib import Status
from modal_proto.api_pb2 import GenericResult as RESULT

from axolotl_grpo_plugin.cloud.remote import CloudJob
from tests.cloud.project import NAME, write_cloud

STOPPED = "Stopped. Nothing runs on Modal."
GOES_ON = "The run goes on at Modal. Log: modal app logs ap-"
FIRST = "--resume-from-checkpoint=./outputs/a/checkpoint-10"


class Scenario(NamedTuple):
    """before: sets it up. code: the exit code. text: in the output. jobs: calls that Modal gets."""

    before: Callable
    code: int
    text: str
    jobs: int
    words: tuple[str, ...] = ()


def refuses(rpc, status, message):
    return lambda modal, monkeypatch: modal.refusals.update({rpc: (status, message)})


def signal_during(rpc, number=signal.SIGINT):
    return lambda modal, monkeypatch: modal.interrupts.update({rpc: number})


def ends_with(end):
    """The function raises an error or returns a value, or Modal reports a result."""
    return lambda modal, monkeypatch: setattr(modal, "answer", Mock(side_effect=[end]))


def claimed(**fields):
    return lambda modal, monkeypatch: modal.claim("runs/a", **fields)


def on_volume(finished=None, words=()):
    """Checkpoints are on the Volume. finished: of their run; None if cloud-run.json is missing."""

    def before(modal, monkeypatch):
        files = {"a/checkpoint-9/x": b"", "a/checkpoint-10/x": b""}
        if finished is not None:
            run = CloudJob(NAME, Path(NAME).read_text(), list(words), [], "", {}, True).digest()
            files["a/cloud-run.json"] = json.dumps({"run": run, "config": "a", "finished": finished}).encode()
        modal.put_volume("runs", files)

    return before


def busy(modal, monkeypatch):
    modal.transient |= {"VolumeGetOrCreate", "AppCreate", "FunctionMap"}


def without_network(modal, monkeypatch):
    monkeypatch.setenv("MODAL_SERVER_URL", "http://127.0.0.1:1")


def fails_to_build(modal, monkeypatch):
    modal.failed_build = ("Collecting x", "pip failed\nERROR: no version of x")


def lacks_a_secret(modal, monkeypatch):
    write_cloud(secrets=[{"modal": "none"}])


def loses_the_connection(modal, monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.cloud.start.RETRY", 0.5)
    commands = Queue()
    monkeypatch.setattr(subprocess, "run", commands.put)

    def answer(job):
        modal.lose(5)
        assert commands.get(timeout=60)[2:5] == ["modal", "app", "logs"]
        return 3

    modal.answer = answer


OTHER = ("--learning-rate", "3e-6")
# fmt: off
SCENARIOS = {
    # Modal refuses, and nothing starts.
    "wrong token": Scenario(refuses("*", Status.UNAUTHENTICATED, "Token ID is malformed"), 1, "Modal: Token ID is malformed. Run `modal token new`.", 0),
    "no permission": Scenario(refuses("VolumeGetOrCreate", Status.PERMISSION_DENIED, "No write access"), 1, "Modal: No write access. See", 0),
    "too many apps": Scenario(refuses("AppCreate", Status.RESOURCE_EXHAUSTED, "Too many apps"), 1, "Modal: Too many apps. See", 0),
    "internal error": Scenario(refuses("AppCreate", Status.INTERNAL, None), 1, "Modal: InternalError. See https://modal.com/docs", 0),
    "Volumes are down": Scenario(refuses("VolumeListFiles", Status.UNAVAILABLE, "Down"), 1, "Modal: Down. See https://modal.com/docs", 0),
    "missing Secret": Scenario(lacks_a_secret, 1, "Modal: Secret 'none' not found", 0),
    "no network": Scenario(without_network, 1, "Modal: ", 0),
    "failed build": Scenario(fails_to_build, 1, "pip failed ERROR: no version of x. ", 0),
    # Another run has the output folder.
    "a run waits for its GPU": Scenario(claimed(call="fc-another"), 1, "a on the Volume runs: a run of a is under way there. Wait for its end", 0),
    "another run has ended": Scenario(claimed(call="fc-ended"), 0, "Log: modal app logs ap-", 1),
    # The output folder has files.
    "unfinished run": Scenario(on_volume(finished=False), 0, "continues from checkpoint-10, or the one before", 1),
    "finished run": Scenario(on_volume(finished=True), 1, "a finished run of a is there", 0),
    "other options": Scenario(on_volume(finished=False), 1, "another config or other options wrote checkpoint-10", 0, OTHER),
    "unknown run": Scenario(on_volume(), 1, "checkpoint-10 is there without cloud-run.json, so its run is unknown", 0),
    "fix of a finished run": Scenario(on_volume(finished=True), 0, "Log: modal app logs ap-", 1, (FIRST,)),
    # The user ends the command.
    "Ctrl-C, Volume": Scenario(signal_during("VolumeListFiles"), 130, STOPPED, 0),
    "Ctrl-C, build": Scenario(signal_during("ImageJoinStreaming"), 130, STOPPED, 0),
    "SIGTERM, build": Scenario(signal_during("ImageJoinStreaming", signal.SIGTERM), 143, STOPPED, 0),
    "Ctrl-C, training": Scenario(signal_during("FunctionGetOutputs"), 130, GOES_ON, 1),
    # The run ends.
    "exit code": Scenario(ends_with(3), 3, "The run ended with exit code 3. See the log above.", 1),
    "timeout": Scenario(ends_with(RESULT(status="GENERIC_STATUS_TIMEOUT", exception="hit its timeout")), 1, "Modal: ", 1),
    "lost container": Scenario(ends_with(RESULT(status="GENERIC_STATUS_INTERNAL_FAILURE", exception="lost")), 1, "Modal: lost. The same command", 1),
    "failed function": Scenario(ends_with(ValueError("no such file\nmore")), 1, "the container's function failed (ValueError: no such file)", 1),
    "full disk": Scenario(ends_with(OSError(28, "No space left")), 1, "the container's function failed (OSError: [Errno 28] No space", 1),
    # The connection.
    "busy service": Scenario(busy, 0, "Log: modal app logs ap-", 1),
    "lost connection": Scenario(loses_the_connection, 3, "The connection is lost. This command reconnects.", 1),
}
# fmt: on

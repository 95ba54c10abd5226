import json

import pytest
from grpclib import Status

from axolotl_grpo_plugin.cloud import remote
from axolotl_grpo_plugin.cloud.resume import STATE
from axolotl_grpo_plugin.serving.plan import AXOLOTL
from tests.cloud.container import Container

TELLS = """
import json, os, sys
from pathlib import Path
told = {"words": sys.argv[1:], "cwd": os.getcwd(), "config": Path("configs/a.yaml").read_text()}
print("told", json.dumps(told))
"""
FAILS = "import sys; sys.exit(3)"


@pytest.fixture
def container(tmp_path):
    return Container(tmp_path, TELLS)


def told(text):
    (line,) = [each for each in text.splitlines() if each.startswith("told")]
    return json.loads(line.removeprefix("told"))


def state(container):
    return json.loads((container.output / STATE).read_text())


def checkpoint(container, number, complete=True):
    folder = container.output / f"checkpoint-{number}"
    folder.mkdir(parents=True)
    if complete:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": number}))


def test_the_command_is_axolotls_own():
    assert remote.AXOLOTL is AXOLOTL


def test_it_runs_on_what_was_sent(container):
    container.send({"rewards/mine.py": "1", "configs/a.yaml": "an older text"})
    (container.root / "parcel" / "configs" / "a.yaml").chmod(0o444)
    found = told(container.run(text="rl: gdpo\n"))
    assert found["config"] == "rl: gdpo\n"
    assert found["cwd"] == str(container.work)
    assert (container.work / "rewards" / "mine.py").read_text() == "1"


def test_it_runs_without_a_parcel(container):
    assert told(container.run())["config"] == "rl: grpo\n"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, ["grpo", "train", "configs/a.yaml", "--learning-rate=1e-6"]),
        (
            {"words": ["--launcher=torchrun"], "after": ["--nproc-per-node", "3"]},
            [
                *("grpo", "train", "configs/a.yaml", "--launcher=torchrun"),
                *("--", "--nproc-per-node", "3"),
            ],
        ),
        ({"command": ["preprocess"], "words": []}, ["preprocess", "configs/a.yaml"]),
    ],
)
def test_words_arrive_one_by_one(container, keys, words):
    assert told(container.run(**keys))["words"] == words


def test_an_exit_code_is_handed_on_and_what_was_printed_is_kept(container):
    container.axolotl("import os; print('last words'); os._exit(3)")
    said = container.run()
    assert "last words\n" in said and said.endswith("returned 3\n")
    assert state(container)["finished"] is False


@pytest.mark.parametrize(("axolotl", "code"), [(TELLS, 0), (FAILS, 3)], ids=["0", "3"])
def test_volumes_are_committed_when_it_has_ended(tmp_path, modal_service, axolotl, code):
    for name in ("runs", "cache"):
        modal_service.put_volume(name)
    container = Container(tmp_path, axolotl, ("--commit",))
    volumes = {str(container.work / "outputs"): "runs", "/cache": "cache"}
    assert container.run(volumes=volumes).endswith(f"returned {code}\n")
    found = {request.deployment_name for request in modal_service.named("VolumeGetOrCreate")}
    assert found == {"runs", "cache"}
    assert len({request.volume_id for request in modal_service.named("VolumeCommit")}) == 2


def test_a_commit_that_fails_does_not_undo_the_training(tmp_path, modal_service):
    """Modal refuses one while a file is open there, and makes it as the container ends."""
    modal_service.put_volume("runs")
    modal_service.refuse("VolumeCommit", Status.FAILED_PRECONDITION, "there are open files")
    container = Container(tmp_path, TELLS, ("--commit",))
    said = container.run()
    assert "runs is committed only when the container ends: there are open files" in said
    assert said.endswith("returned 0\n")


def test_a_finished_run_is_noted_and_not_overwritten(container):
    container.run()
    assert state(container) == {
        "run": remote.digest(container.job()),
        "config": "configs/a.yaml",
        "finished": True,
        "call": "fc-1",
    }
    refused, returned = container.run().splitlines()
    assert "a finished run of configs/a.yaml is there" in refused
    assert refused.endswith("or delete it: `modal volume rm -r runs a`.")
    assert returned == "returned 1"


def test_a_run_that_was_preempted_goes_on_from_its_last_checkpoint(container):
    container.axolotl(FAILS)
    container.run()
    for number in (9, 10):
        checkpoint(container, number)
    container.axolotl(TELLS)
    said = container.run(after=[])
    assert "axolotl-grpo-plugin: this run goes on from checkpoint-10\n" in said
    assert told(said)["words"][-2:] == [
        "--learning-rate=1e-6",
        "--resume-from-checkpoint=./outputs/a/checkpoint-10",
    ]
    assert state(container)["finished"] is True


def test_the_option_that_resumes_comes_before_the_launchers(container):
    container.axolotl(FAILS)
    container.run(after=["--num-processes", "1"])
    checkpoint(container, 10)
    container.axolotl(TELLS)
    words = told(container.run(after=["--num-processes", "1"]))["words"]
    assert words[-4:] == [
        "--resume-from-checkpoint=./outputs/a/checkpoint-10",
        *("--", "--num-processes", "1"),
    ]


def test_a_checkpoint_that_is_not_complete_is_passed_over(container):
    container.axolotl(FAILS)
    container.run()
    checkpoint(container, 10)
    checkpoint(container, 20, complete=False)
    container.axolotl(TELLS)
    said = container.run()
    assert "checkpoint-20 is passed over: it has no trainer_state.json" in said
    assert told(said)["words"][-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-10"


def test_a_run_preempted_in_its_first_save_starts_again(container):
    container.axolotl(FAILS)
    container.run()
    checkpoint(container, 10, complete=False)
    container.axolotl(TELLS)
    assert told(container.run())["words"][-1] == "--learning-rate=1e-6"


@pytest.mark.parametrize(
    "keys",
    [
        {"text": "rl: gdpo\n"},
        {"words": ["--learning-rate=2e-6"]},
        {"after": ["--num-processes", "2"]},
    ],
    ids=["text", "options", "launcher's options"],
)
def test_another_run_in_the_same_folder_is_refused(container, keys):
    container.axolotl(FAILS)
    container.run()
    checkpoint(container, 10)
    before = state(container)
    container.axolotl(TELLS)
    said = container.run(**keys)
    assert said.endswith("returned 1\n") and "told" not in said
    assert "got to checkpoint-10 with another config text or other options" in said
    assert state(container) == before


@pytest.mark.parametrize("axolotl", [TELLS, FAILS], ids=["finished", "unfinished"])
def test_who_says_how_to_resume_is_left_alone(container, axolotl):
    container.axolotl(axolotl)
    container.run()
    checkpoint(container, 10)
    container.axolotl(TELLS)
    words = ["--resume-from-checkpoint=./outputs/a/checkpoint-5"]
    said = container.run(words=words, resume=False)
    assert told(said)["words"] == ["grpo", "train", "configs/a.yaml", *words]
    assert state(container)["run"] == remote.digest(container.job(words=words))


def test_what_was_resumed_by_hand_goes_on_from_where_it_got_to(container):
    """Modal gives the same job again after a preemption: to begin anew each time is to end never."""
    by_hand = {"words": ["--resume-from-checkpoint=./outputs/a/checkpoint-10"], "resume": False}
    checkpoint(container, 10)
    container.axolotl(FAILS).run(**by_hand)
    checkpoint(container, 20)
    again = told(container.axolotl(TELLS).run(**by_hand))["words"]
    assert again[-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-20"


@pytest.mark.parametrize("before", [[], ["--learning-rate=2e-6"]], ids=["unknown", "another run"])
def test_a_model_without_checkpoints_is_not_overwritten(container, before):
    if before:
        container.axolotl(FAILS).run(words=before)
    container.output.mkdir(parents=True, exist_ok=True)
    (container.output / "model.safetensors").touch()
    said = container.axolotl(TELLS).run()
    assert said.endswith("returned 1\n") and "a model" in said and "told" not in said


def test_preprocessing_is_no_run(container):
    keys = {"command": ["preprocess"], "output": "", "words": []}
    for _ in range(2):
        assert container.run(**keys).endswith("returned 0\n")
    assert not list(container.work.rglob(STATE))


def test_an_output_on_no_volume_is_not_looked_at(container):
    for _ in range(2):  # the first is finished
        assert container.run(output="./elsewhere").endswith("returned 0\n")

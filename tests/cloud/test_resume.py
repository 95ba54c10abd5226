import json

import pytest

from axolotl_grpo_plugin.cloud.resume import (
    STATE,
    Place,
    State,
    place_of,
    read_state,
    verdict,
    write_state,
)
from axolotl_grpo_plugin.findings import ConfigError

PLACE = Place("./outputs/a", "runs", "a")
OUR_RUN = State(run="ours", config="configs/a.yaml", finished=False, call="fc-1")
DELETE = "or delete it: `modal volume rm -r runs a`."


@pytest.mark.parametrize(
    ("state", "last", "found"),
    [
        (None, None, None),
        (OUR_RUN, None, None),
        (OUR_RUN, "checkpoint-20", "checkpoint-20"),
        (OUR_RUN | {"run": "another"}, None, None),  # nothing of it is left to lose
    ],
    ids=["empty folder", "preempted at once", "preempted", "another one that saved nothing"],
)
def test_a_run_starts_or_goes_on(state, last, found):
    assert verdict(PLACE, state, "ours", last, False) == found


@pytest.mark.parametrize("run", ["ours", "another"])
@pytest.mark.parametrize("last", [None, "checkpoint-20"])
def test_a_finished_run_is_never_overwritten(run, last):
    with pytest.raises(ConfigError) as refused:
        verdict(PLACE, OUR_RUN | {"finished": True}, run, last, False)
    said = str(refused.value)
    assert "./outputs/a on the Volume runs: a finished run of configs/a.yaml is there." in said
    assert "another --output-dir=" in said and said.endswith(DELETE)
    assert ("--resume-from-checkpoint=./outputs/a/checkpoint-20" in said) == (last is not None)


def test_what_another_run_has_learned_is_not_overwritten():
    with pytest.raises(ConfigError) as refused:
        verdict(PLACE, OUR_RUN, "another", "checkpoint-20", True)
    assert str(refused.value) == (
        "axolotl-grpo-plugin: ./outputs/a on the Volume runs: a run of configs/a.yaml got to"
        " checkpoint-20 with another config text or other options. Give this run another"
        " --output-dir=, go on from there with"
        " --resume-from-checkpoint=./outputs/a/checkpoint-20, " + DELETE
    )


def test_checkpoints_of_nobody_knows_whom_are_not_overwritten():
    with pytest.raises(ConfigError, match=r"checkpoint-20 is there, and no cloud-run\.json that"):
        verdict(PLACE, None, "ours", "checkpoint-20", False)


def test_a_model_of_another_run_is_not_overwritten():
    with pytest.raises(ConfigError, match=r"of configs/a\.yaml got to a model with another config"):
        verdict(PLACE, OUR_RUN, "another", None, True)
    with pytest.raises(ConfigError, match=r"a model is there, and no cloud-run\.json that says"):
        verdict(PLACE, None, "ours", None, True)
    assert verdict(PLACE, OUR_RUN, "ours", None, True) is None  # its own: it had no checkpoint


@pytest.mark.parametrize(
    ("place", "resumes", "deletes"),
    [
        (Place("./a b/c", "runs", "a b/c"), "'./a b/c/checkpoint-1'", "rm -r runs 'a b/c'`"),
        (Place("./outputs", "runs", "/"), "./outputs/checkpoint-1", "delete runs`"),
    ],
    ids=["a space", "all of the Volume"],
)
def test_what_is_printed_can_be_typed(place, resumes, deletes):
    with pytest.raises(ConfigError) as refused:
        verdict(place, None, "ours", "checkpoint-1", False)
    assert f"--resume-from-checkpoint={resumes}, or delete it: `modal volume {deletes}." in str(
        refused.value
    )


def test_a_state_is_read_as_it_was_written(tmp_path):
    folder = tmp_path / "outputs" / "a"
    write_state(folder, OUR_RUN)
    write_state(folder, OUR_RUN | {"finished": True})
    assert [each.name for each in folder.iterdir()] == [STATE]
    assert read_state((folder / STATE).read_text()) == OUR_RUN | {"finished": True}


@pytest.mark.parametrize("text", ["", '{"run": "ours", "fin', "[]", "null", json.dumps({"run": 1})])
def test_a_state_that_cannot_be_read_is_nobodys(text):
    assert read_state(text) is None


VOLUMES = {
    "/workspace/outputs": "runs",
    "/workspace/outputs/big": "big",
    "/cache": "cache",
}


@pytest.mark.parametrize(
    ("output", "volume", "path"),
    [
        ("./outputs/a/b", "runs", "a/b"),
        ("outputs/a/", "runs", "a"),
        ("./outputs", "runs", "/"),
        ("./outputs/big/a", "big", "a"),  # the inner mount
        ("./outputs/bigger", "runs", "bigger"),
        ("./elsewhere/../outputs/a", "runs", "a"),
        ("/cache/a", "cache", "a"),
        ("//cache//a//", "cache", "a"),
    ],
)
def test_a_place_on_a_volume(output, volume, path):
    assert place_of(output, VOLUMES, "/workspace") == Place(output, volume, path)


@pytest.mark.parametrize("output", ["./model-out", "./outputs-2/a", "./outputs/../a", "/tmp/a"])
def test_no_place_on_a_volume(output):
    assert place_of(output, VOLUMES, "/workspace") is None

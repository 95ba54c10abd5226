import pickle

import pytest

from axolotl_grpo_plugin.findings import END, Finding, FindingError, exit_on_findings, finding_of
from axolotl_grpo_plugin.processes import guarded
from axolotl_grpo_plugin.transforms.rows import DatasetError

KEY = Finding("trl.beta", "not a number", "Write 0.1", code="not-a-number")
FILE = Finding("", "no rows", "")


def test_one_error_carries_several_findings():
    error = FindingError(KEY, FILE)
    assert str(error) == "trl.beta: not a number. Write 0.1.\nno rows."
    assert error.findings == (KEY, FILE)


def test_error_of_a_dataset_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(DatasetError(KEY)))
    assert isinstance(error, DatasetError)
    assert error.finding == KEY


def test_exit_shows_the_messages_and_passes_them_on(tmp_path, monkeypatch):
    monkeypatch.setenv(END, str(tmp_path / "end"))
    with pytest.raises(SystemExit) as ended, exit_on_findings():
        raise FindingError(KEY, FILE)
    lines = "axolotl-grpo-plugin: trl.beta: not a number. Write 0.1.\naxolotl-grpo-plugin: no rows."
    assert ended.value.code == lines
    assert (tmp_path / "end").read_text() == lines


def test_exit_leaves_other_errors_alone():
    with pytest.raises(ValueError, match="a bug"), exit_on_findings():
        raise ValueError("a bug")


def test_child_process_ends_with_the_message_only(capfd):
    @exit_on_findings()
    def work():
        raise FindingError(KEY)

    assert guarded(work) == 1
    assert capfd.readouterr().err == f"axolotl-grpo-plugin: {KEY}\n"


def test_finding_of_an_error_names_the_part_and_its_fix():
    part = FindingError(Finding("weight", "not a number", "Write 0.1"))
    assert str(finding_of(part, "x", "trl", "Read the docs")) == "trl: weight: not a number. Write 0.1."
    assert str(finding_of(TypeError("boom"), "x", "trl", "Read the docs")) == "trl: boom. Read the docs."

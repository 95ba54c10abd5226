"""The command line as a whole: names, errors, and options that all commands share."""

import os
import sys

import pytest

from axolotl_grpo_plugin.report.console import console
from tests.conftest import QUICKSTART, ROOT, invoke


def failed(*words):
    """Return the only line of a command that cannot be typed like this."""
    (line,) = invoke(*words, code=2).stderr.splitlines()
    assert line.startswith("axolotl-grpo-plugin: ")
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lint", "x"], "Use axolotl-grpo reward attack CONFIG"),
        (["score"], "Use axolotl-grpo reward score FILE"),
        (["rewards"], "Use axolotl-grpo reward list"),
        (["chekc"], "Did you mean 'check'?"),
        (["reward", "atack"], "Did you mean 'attack'?"),
        (["--versoin"], "Did you mean '--version'?"),
        (["check", "--gpu", "1"], "Did you mean '--gpus'? See grpo check -h."),
        (["check"], "Missing argument"),
        (["train", "none.yaml"], "'none.yaml' does not exist"),
        (["stats", "none.yaml"], "'none.yaml' does not exist"),
    ],
)
def test_wrong_command_line_is_one_line(words, message):
    assert message in failed(*words)


@pytest.mark.parametrize("words", [["-h"], ["reward", "-h"], ["reward", "attack", "-h"], ["stats", "--help"]])
def test_shows_its_help(words):
    assert invoke(*words).output.startswith("Usage: ")


def test_console_shows_brackets_as_they_are(capsys):
    console().print("outputs/[try] :smile:")
    assert capsys.readouterr().out == "outputs/[try] :smile:\n"


def test_group_without_a_command_shows_its_help():
    assert "attack" in invoke("reward", code=2).output


def test_offline_reaches_the_hubs_client_before_and_after_its_import(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    words = ["stats", "--data", str(QUICKSTART / "train.jsonl"), "--tokenizer", "./none", "--offline"]
    invoke(*words, code=1)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE is True


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)])
def test_strict_check_fails_for_a_warning(monkeypatch, strict, code):
    from axolotl_grpo_plugin.commands import check
    from axolotl_grpo_plugin.findings import warning

    checked = check.Checked("c.yaml", findings=[warning("old", "c.yaml", "it is old", "Renew it")])
    monkeypatch.setattr(check, "check", lambda *_: checked)
    words = ["check", str(ROOT / "configs/quickstart.yaml"), "--gpus", "0"] + ["--strict"] * strict
    invoke(*words, code=code)


@pytest.mark.parametrize(("count", "verdict"), [(0, "OK"), (1, "OK, 1 warning"), (2, "OK, 2 warnings")])
def test_verdict_of_a_check_counts_its_warnings(count, verdict):
    from axolotl_grpo_plugin.commands.check import Checked
    from axolotl_grpo_plugin.findings import warning

    old = warning("old", "c.yaml", "it is old", "Renew it")
    assert Checked("c.yaml", findings=[old] * count).verdict == verdict

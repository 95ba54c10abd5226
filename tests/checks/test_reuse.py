import pytest

from axolotl_grpo_plugin.checks.reuse import check_output, check_reuse
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.record import ENDED, add_facts
from tests.checks.found import levels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an empty output folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    (tmp_path / "out").mkdir()
    return tmp_path


def findings(**cfg):
    return levels(check_reuse(Config(cfg)))


def checkpoint(folder, step, state="{}"):
    (folder / "out" / f"checkpoint-{step}").mkdir()
    (folder / "out" / f"checkpoint-{step}" / "trainer_state.json").write_text(state)


def test_accepts_a_new_folder(folder):
    (folder / "out" / "debug.log").touch()
    assert not findings(output_dir="./out") + findings(output_dir="./new")
    assert not findings(output_dir=5) + findings()


def test_reports_checkpoints_of_an_earlier_run(folder):
    for step in (90, 100):
        checkpoint(folder, step)
    (finding,) = check_reuse(Config({"output_dir": "./out"}))
    assert finding.code == "earlier-checkpoints" and "checkpoint-100" in finding.what
    assert not findings(output_dir="./out", auto_resume_from_checkpoints=True)
    assert not findings(output_dir="./out", resume_from_checkpoint="./out/checkpoint-90")


def test_reports_the_model_of_an_earlier_run(folder):
    (folder / "out" / "adapter_model.safetensors").touch()
    assert findings(output_dir="out") == [("warning", "earlier-model")]


def test_refuses_to_resume_a_finished_run_without_a_checkpoint(folder):
    assert not findings(output_dir="out", auto_resume_from_checkpoints=True)
    (folder / "out" / "model.safetensors").touch()
    assert findings(output_dir="out", auto_resume_from_checkpoints=True) == [("warning", "earlier-model")]
    (folder / "out" / "README.md").touch()
    assert findings(output_dir="out", auto_resume_from_checkpoints=True) == [("error", "no-checkpoint")]
    add_facts(folder / "out", {ENDED: "today"})
    assert findings(output_dir="out", auto_resume_from_checkpoints=True) == [("error", "no-checkpoint")]


def test_run_that_was_killed_in_its_first_save_may_begin_again(folder):
    """TRL writes the card before the checkpoint."""
    for name in ("model.safetensors", "README.md"):
        (folder / "out" / name).touch()
    add_facts(folder / "out", {"Started": "today"})
    assert findings(output_dir="out", auto_resume_from_checkpoints=True) == [("warning", "earlier-model")]


def test_reports_a_missing_checkpoint(folder):
    assert findings(resume_from_checkpoint="out/checkpoint-3") == [("error", "no-checkpoint")]
    assert not findings(resume_from_checkpoint=True)


def test_names_the_checkpoints_that_a_resume_leaves_out(folder):
    checkpoint(folder, 90, '{"global_st')
    (finding,) = check_reuse(Config({"output_dir": "out", "auto_resume_from_checkpoints": True}))
    assert finding.what == ("checkpoint-90 is left out, because trainer_state.json is cut. The run begins at step 1")
    checkpoint(folder, 80)
    (finding,) = check_reuse(Config({"output_dir": "out", "auto_resume_from_checkpoints": True}))
    assert finding.level == "warning" and finding.what.endswith("The run goes on from checkpoint-80")


def test_refuses_a_named_checkpoint_that_is_not_whole(folder):
    checkpoint(folder, 90, "")
    checkpoint(folder, 80)
    (finding,) = check_reuse(Config({"output_dir": "out", "resume_from_checkpoint": "out/checkpoint-90"}))
    assert finding.code == "cut-checkpoint" and finding.fix == "Name out/checkpoint-80"


def test_says_that_a_finished_run_has_nothing_to_do(folder):
    checkpoint(folder, 6)
    (folder / "out" / "model.safetensors").touch()
    (folder / "out" / "run.json").write_text('{"Ended": "now"}')
    (finding,) = check_reuse(Config({"output_dir": "out", "auto_resume_from_checkpoints": True, "max_steps": 6}))
    assert finding.level == "warning" and "nothing to do: checkpoint-6 is the end (max_steps 6)" in str(finding)


def outputs(output):
    return levels(check_output(Config({"output_dir": output})))


def test_accepts_an_output_folder_that_can_be_made(folder):
    assert not outputs("out") + outputs("new/deep") + outputs(str(folder / "new"))
    assert [path.name for path in folder.iterdir()] == ["out"]


def test_refuses_an_output_folder_that_is_a_file(folder):
    (folder / "model").touch()
    assert outputs("model") == outputs("model/deep") == [("error", "output-is-file")]


def test_refuses_an_output_folder_that_cannot_be_written():
    assert outputs("/proc/nope") == [("error", "output-read-only")]


def test_warns_of_a_disk_that_is_not_mounted():
    assert outputs("/mnt/nope/run") == outputs("/nope/run") == [("warning", "output-not-mounted")]

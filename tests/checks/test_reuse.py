import pytest

from axolotl_grpo_plugin.checks.reuse import check_reuse


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an empty output folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    (tmp_path / "out").mkdir()
    return tmp_path


def findings(**cfg):
    return [(finding.level, str(finding)) for finding in check_reuse(cfg)]


def test_accepts_a_new_folder(folder):
    (folder / "out" / "debug.log").touch()
    assert not findings(output_dir="./out") + findings(output_dir="./new")
    assert not findings(output_dir=5) + findings()


def test_reports_checkpoints_of_an_earlier_run(folder):
    for step in (90, 100):
        (folder / "out" / f"checkpoint-{step}").mkdir()
    ((level, line),) = findings(output_dir="./out")
    assert (level, "up to checkpoint-100," in line) == ("warning", True)
    assert not findings(output_dir="./out", auto_resume_from_checkpoints=True)
    assert not findings(output_dir="./out", resume_from_checkpoint="./out/checkpoint-90")


def test_reports_the_model_of_an_earlier_run(folder):
    (folder / "out" / "adapter_model.safetensors").touch()
    ((level, line),) = findings(output_dir="out")
    assert (level, "overwrites" in line) == ("warning", True)


def test_reports_a_missing_checkpoint(folder):
    ((level, line),) = findings(resume_from_checkpoint="out/checkpoint-3")
    assert (level, "no such folder" in line) == ("error", True)
    assert not findings(resume_from_checkpoint=True)

import pytest
import yaml

from axolotl_grpo_plugin.checks.reuse import check_reuse


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    return tmp_path


def found(**cfg):
    return [(finding.level, str(finding)) for finding in check_reuse(cfg)]


def test_accepts_a_new_folder(here):
    assert not found(output_dir="./out")
    (here / "out").mkdir()
    (here / "out" / "debug.log").touch()
    assert not found(output_dir="./out")
    assert not found(output_dir=5) + found()


def test_reports_checkpoints_of_an_earlier_run(here):
    for step in (90, 100):
        (here / "out" / f"checkpoint-{step}").mkdir(parents=True)
    ((level, line),) = found(output_dir="./out")
    assert level == "warning"
    assert "up to checkpoint-100," in line
    assert not found(output_dir="./out", auto_resume_from_checkpoints=True)
    assert not found(output_dir="./out", resume_from_checkpoint="./out/checkpoint-90")


def test_reports_the_model_of_an_earlier_run(here):
    (here / "out").mkdir()
    (here / "out" / "adapter_model.safetensors").touch()
    ((level, line),) = found(output_dir="out")
    assert level == "warning"
    assert "overwrites" in line


def test_reports_a_missing_checkpoint(here):
    ((level, line),) = found(resume_from_checkpoint="out/checkpoint-3")
    assert level == "error"
    assert "no such folder" in line
    assert not found(resume_from_checkpoint=True)


def test_reports_a_reused_wandb_name_or_id(here):
    run = here / "wandb" / "offline-run-20260101_000000-abc123" / "files"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"run_name": {"value": "first"}}))
    assert not found(wandb_name="first")  # no project, no wandb
    assert not found(wandb_project="p", wandb_name="second", wandb_run_id="def")
    ((level, line),) = found(wandb_project="p", wandb_name="first")
    assert (level, "a run with this name" in line) == ("warning", True)
    ((level, line),) = found(wandb_project="p", wandb_run_id="abc123")
    assert (level, "a run with this id" in line) == ("warning", True)

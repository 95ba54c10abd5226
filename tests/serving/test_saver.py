import os

from axolotl_grpo_plugin.serving.saver import SAVER, Saver, files_of


def test_a_supervisor_reads_the_saver_that_a_rank_announces(tmp_path, monkeypatch):
    file = tmp_path / "saver.json"
    monkeypatch.setenv(SAVER, str(file))
    assert Saver.read(file) is None
    Saver(os.getpid(), together=True).announce()
    assert Saver.read(file) == (os.getpid(), True)


def test_names_the_newest_whole_checkpoint_and_the_time_of_the_model(tmp_path):
    assert files_of(str(tmp_path)) == f"In {tmp_path}, there is no checkpoint, and no model is saved."
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (9, 10):  # transformers writes this file last
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").touch()
    os.utime(tmp_path / "adapter_model.safetensors", (0, 0))
    assert "checkpoint-10 is the last checkpoint, and the model was saved at " in files_of(str(tmp_path))

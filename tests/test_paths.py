import sys
from pathlib import Path

from axolotl_grpo_plugin import paths


def test_the_working_folder_comes_first_and_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    paths.add_working_folder()
    paths.add_working_folder()
    assert sys.path == [str(tmp_path), "/elsewhere"]


def test_python_m_has_it_already(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    paths.add_working_folder()
    assert sys.path == ["", "/elsewhere"]


def test_packaged_paths_are_resolved_and_others_kept():
    cfg = {
        "base_model": "pkg://axolotl_grpo_plugin/quickstart/model",
        "datasets": [{"path": "pkg://axolotl_grpo_plugin/quickstart/train.jsonl"}, {"path": "a/b"}],
        "test_datasets": None,
    }
    paths.resolve_packaged(cfg)
    assert Path(cfg["base_model"], "config.json").exists()
    assert Path(cfg["datasets"][0]["path"]).exists()
    assert cfg["datasets"][1]["path"] == "a/b"
    assert "tokenizer_config" not in cfg


def test_the_pack_is_found_in_a_checkout():
    assert (paths.shipped("configs") / "quickstart.yaml").exists()

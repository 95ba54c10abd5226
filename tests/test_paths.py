import sys
from pathlib import Path

import pytest

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.config import Config


@pytest.mark.parametrize("first", ["", None])  # `python -m` adds ""
def test_adds_the_working_folder_once(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = ["/elsewhere"] if first is None else [first, "/elsewhere"]
    monkeypatch.setattr(sys, "path", list(before))
    paths.add_working_folder()
    paths.add_working_folder()
    assert sys.path == ([str(tmp_path), *before] if first is None else before)


def test_resolves_packaged_paths_and_keeps_others():
    cfg = {
        "base_model": "pkg://axolotl_grpo_plugin/quickstart/model",
        "datasets": [{"path": "pkg://axolotl_grpo_plugin/quickstart/train.jsonl"}, {"path": "a/b"}],
        "test_datasets": None,
    }
    paths.resolve_packaged(Config(cfg))
    assert Path(cfg["base_model"], "config.json").exists()
    assert Path(cfg["datasets"][0]["path"]).exists()
    assert cfg["datasets"][1]["path"] == "a/b"
    assert "tokenizer_config" not in cfg

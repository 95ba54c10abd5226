import pytest

from axolotl_grpo_plugin.checks import hub


@pytest.mark.parametrize("name", ["openai/gsm8k", "gpt2", "Qwen/Qwen2.5-1.5B-Instruct"])
def test_names_on_the_hub(name):
    assert hub.is_on_hub(name)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "./models/mine",
        "/a/b",
        "~/a",
        "a/b/c",
        "s3://a/b",
        "rows.jsonl",
        "pkg://a/b",
        "here",
        "",
        "a b/c",
    ],
)
def test_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert not hub.is_on_hub(name)


def test_offline_ends():
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with hub.offline(not before):
        assert constants.HF_HUB_OFFLINE is not before
    assert constants.HF_HUB_OFFLINE is before

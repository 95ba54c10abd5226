"""`hub_model_id` uploads the model, its card and its picture, and the rest only by a key."""

import pytest

from axolotl_grpo_plugin.training.uploads import uploaded_files
from tests.conftest import Later

upstream, hub, transformers_hub = (
    Later("axolotl_grpo_plugin.repairs.upstream"),
    Later("huggingface_hub"),
    Later("transformers.utils.hub"),
)
PUBLIC = """README.md adapter_config.json adapter_model.safetensors additional_chat_templates/tool.jinja chat_template.jinja
config.json generation_config.json merges.txt model-00001-of-00002.safetensors model.safetensors.index.json
preprocessor_config.json special_tokens_map.json tokenizer.json tokenizer.model tokenizer_config.json training.png
vocab.json""".split()
PRIVATE = """run.yaml run.json run.lock cloud-run.json debug.log vllm-server.log training_args.bin trainer_state.json rows.json
notes.txt rollouts/train/001-000001-000-000000.parquet held_out/scores.parquet completions/completions_00001.parquet
eval/limit=8/eval.json passrate/answers/a.parquet runs/events.out checkpoint-3/model.safetensors merged/config.json
stall/stack.txt eval/README.md""".split()


@pytest.fixture
def folder(tmp_path):
    for name in PUBLIC + PRIVATE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def uploaded(monkeypatch, folder, path, more=()):
    """Return the files that the hub's client would send for transformers' call."""
    sent = []

    def commit(self, *, operations, **_):
        sent.extend(operation.path_in_repo for operation in operations)

    monkeypatch.setattr("huggingface_hub.hf_api.is_xet_available", lambda: False)
    monkeypatch.setattr(hub.HfApi, "_validate_yaml", lambda *_, **__: None)
    monkeypatch.setattr(hub.HfApi, "create_commit", commit)
    files_of = lambda asked: uploaded_files(folder, more) if asked == folder else None  # noqa: E731
    with upstream.uploads(files_of):
        transformers_hub.hf_api().upload_folder(
            repo_id="me/x", folder_path=str(path), ignore_patterns=["_*", "checkpoint-*"], run_as_future=False
        )
    return sorted(sent)


def test_only_the_model_and_its_card_are_uploaded(monkeypatch, folder):
    assert uploaded(monkeypatch, folder, folder) == sorted(PUBLIC)


def test_more_files_are_uploaded_by_a_key(monkeypatch, folder):
    more = ["run.yaml", "rollouts", "eval/*.json"]
    added = {"run.yaml", "rollouts/train/001-000001-000-000000.parquet", "eval/limit=8/eval.json"}
    assert set(uploaded(monkeypatch, folder, folder, more)) - {*PUBLIC} == added


def test_other_folders_are_uploaded_whole(monkeypatch, folder):
    assert uploaded(monkeypatch, folder, folder / "checkpoint-3") == ["model.safetensors"]

import json

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.evaluate.answers import AnswerJob, AnswerStore, GeneratedAnswer, seed_of
from axolotl_grpo_plugin.evaluate.models import Model, models_of
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from tests.conftest import refused

ROW = Question("a.jsonl", 3, {}, {"answer": "4"}, [{"role": "user", "content": "2+2?"}], [5, 6])
SAMPLED = Sampling(seed=1)


def model(folder, digest="d"):
    return Model("base", folder, None, 0, digest, {})


def job(sample=0, sampling=SAMPLED, row=ROW):
    return AnswerJob.of(model("."), row, sampling, sample, "cpu")


def test_answers_with_tools_are_found_again(tmp_path):
    chat = [{"role": "assistant", "content": "2"}, {"role": "tool", "content": "4"}]
    prompt = [{"role": "user", "content": "2+2? You may try twice."}]
    made = GeneratedAnswer([7, 2, 9], json.dumps(chat), False, prompt, chat, 1, {"Game": None})
    AnswerStore(tmp_path).add(model(tmp_path), [job(0)], [made])
    assert AnswerStore(tmp_path)[job(0).key] == made
    (row,) = read(rollout_files(tmp_path).counted[0])
    assert (row["completion_tokens"], row["tool_tokens"], row["prompt"]) == (2, 1, prompt)


@pytest.mark.parametrize(
    "other",
    [
        job(1),
        job(sampling=Sampling(seed=2)),
        job(sampling=Sampling(seed=1, max_tokens=9)),
        job(row=ROW._replace(row=4)),
        job(row=ROW._replace(ids=[5, 7])),
    ],
)
def test_key_changes_with_each_thing_that_changes_an_answer(other):
    assert other.key != job().key
    assert AnswerJob.of(model(".", "other weights"), ROW, SAMPLED, 0, "cpu").key != job().key
    assert AnswerJob.of(model("."), ROW, SAMPLED, 0, "cuda").key != job().key


def test_key_does_not_change_with_gold_or_folder():
    moved = ROW._replace(dataset="b.jsonl", columns={"answer": "5"})
    assert AnswerJob.of(model("elsewhere"), moved, SAMPLED, 0, "cpu").key == job().key


def test_samples_of_a_row_have_different_seeds():
    assert len({seed_of(job(sample)) for sample in range(100)}) == 100


def test_full_disk_is_one_line(tmp_path):
    file = tmp_path / "answers"
    file.write_text("")  # a file in place of the folder fails as a full disk does
    with refused("cannot-be-written"):
        AnswerStore(file).add(model(tmp_path), [job()], [GeneratedAnswer([7], "4", False)])


def test_foreign_parquet_file_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with refused("no-answers"):
        AnswerStore(tmp_path)


def test_sampling_settings_are_those_of_the_training():
    cfg = {"trl": {"temperature": "0.7", "top_p": 0.9, "top_k": 20, "max_completion_length": 64}}
    assert Sampling.of(Config(cfg), seed=3) == Sampling(0.7, 0.9, 20, max_tokens=64, seed=3)
    assert Sampling.of(Config(cfg), temperature=0.2, top_p=None) == Sampling(0.2, 0.9, 20, max_tokens=64)
    assert Sampling.of(Config(cfg)).greedy().mode == "greedy"


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A working folder with a base model, and an output_dir with two checkpoints and the last model."""
    monkeypatch.chdir(tmp_path)
    for name, weights in [("m", "0"), ("out/checkpoint-20", "1"), ("out/checkpoint-40", "2")]:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text(weights)
    (tmp_path / "out" / "config.json").write_text("{}")
    (tmp_path / "out" / "model.safetensors").write_text("2")
    return {"base_model": "m", "output_dir": "out"}


def labels(found):
    return [(model.label, model.step) for model in found]


def test_equal_weights_are_evaluated_once(saved):
    found = labels(models_of(Config(saved), checkpoints="all"))
    assert found == [("base", 0), ("checkpoint-20", 20), ("checkpoint-40", 40)]
    names = [model.names for model in models_of(Config(saved), checkpoints="all")]
    assert names == [{"base": 0}, {"checkpoint-20": 20}, {"checkpoint-40": 40, "trained": None}]
    assert labels(models_of(Config(saved), checkpoints="20"))[1:] == [("checkpoint-20", 20), ("trained", None)]


def test_names_the_checkpoints_that_exist(saved):
    with refused("no-checkpoint"):
        models_of(Config(saved), checkpoints="30")


def test_adapter_is_evaluated_on_its_base(saved, tmp_path):
    adapter = tmp_path / "lora"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "m"}))
    (adapter / "adapter_model.safetensors").write_text("3")
    (found,) = models_of(Config(saved), ["lora"])
    assert (str(found.folder), str(found.adapter)) == ("m", "lora")
    assert found.digest != models_of(Config(saved), ["m"])[0].digest


def test_a_model_that_is_named_twice_keeps_its_first_place(saved):
    found = models_of(Config(saved), ["m", "out", "m"])
    assert [[*model.names] for model in found] == [["m"], ["out"]]


@pytest.mark.parametrize("name", ["empty", "out/checkpoint-30"])
def test_refuses_a_model_that_is_none(saved, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FindingError) as error:
        models_of(Config(saved), [name])
    assert error.value.findings[0].where == f"--model {name}"

import sys

import pytest

from axolotl_grpo_plugin.checks import config as checks
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data import inputs
from tests.checks.found import codes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder whose modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def dataset(**entry):
    return codes(checks.check_datasets(Config({"datasets": [entry]})))


def test_unknown_key_names_the_nearest():
    (finding,) = checks.check_keys(Config({"grpo_system_prmpt": "x", "grpo_system_in": 1, 5: 5}))
    assert (finding.where, finding.code) == ("grpo_system_prmpt", "unknown-key")
    assert finding.fix == "Did you mean `grpo_system_prompt`?"


@pytest.mark.parametrize(
    "cfg, code",
    [
        ({"trl": ["num_generations: 8"]}, "no-block"),
        ({"vllm": "x"}, "no-block"),
        ({"datasets": {"path": "rows.jsonl"}}, "no-list"),
        ({"datasets": ["rows.jsonl"]}, "no-list"),
        ({"grpo_columns": ["question"]}, "no-map"),
    ],
)
def test_reports_a_block_of_another_shape(cfg, code):
    (finding,) = [*checks.check_blocks(Config(cfg)), *checks.check_datasets(Config(cfg))]
    assert finding.code == code


def test_reports_missing_transforms(folder):
    (folder / "mine.py").write_text("def rows(cfg, **_): ...\n")
    assert not dataset(type="axolotl_grpo_plugin.gsm8k") + dataset(type="mine.rows")
    assert dataset(type="mine.row") == ["no-function"]
    assert dataset(type="no_such_module.rows") == ["no-module"]
    assert not dataset(type="axolotl_grpo_plugin.transforms.gsm8k.gsm8k")
    (finding,) = checks.check_datasets(Config({"datasets": [{"type": "axolotl_grpo_plugin.gsm8"}]}))
    assert finding.fix == "Did you mean `gsm8k`?"
    (finding,) = checks.check_datasets(Config({"datasets": [{"type": "axolotl_grpo_plugin.transforms.gsm.rows"}]}))
    assert finding.fix == "Did you mean `axolotl_grpo_plugin.transforms.gsm8k`?"


@pytest.mark.parametrize(
    "function, codes",
    [
        ("def fn(row): ...", []),
        ("def fn(row, tokenizer): ...", []),
        ("def fn(cfg, dataset_idx=0): ...", []),
        ("def fn(cfg): ...", ["no-transform"]),
        ("def fn(): ...", ["no-transform"]),
        ("fn = 3", ["no-function"]),
    ],
)
def test_transform_is_a_factory_or_a_function_of_a_row(folder, monkeypatch, function, codes):
    (folder / "tasks").mkdir()
    (folder / "tasks" / "mine.py").write_text(function)
    monkeypatch.delitem(sys.modules, "tasks.mine", raising=False)
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    assert dataset(type="tasks.mine.fn") == codes


def test_reports_a_files_path_as_transform(folder):
    (folder / "rows.py").write_text("def ask(row): ...\n")
    (finding,) = checks.check_datasets(Config({"datasets": [{"type": "rows.py"}]}))
    assert finding.fix == "Write it as rows.ask"


def test_proposes_a_transform_for_a_name_that_is_none():
    (finding,) = checks.check_datasets(Config({"datasets": [{"type": "alpaca"}]}))
    assert finding.code == "no-transform" and "axolotl_grpo_plugin.qa" in finding.fix


def test_reports_missing_and_empty_files(folder):
    (folder / "empty.jsonl").touch()
    (folder / "full.jsonl").write_text("{}")
    assert dataset(path="empty.jsonl") == ["wrong-file"]
    assert dataset(path="nowhere.jsonl") == ["wrong-file"]
    assert dataset(path="pkg://no_such_package/x.jsonl") == ["wrong-file"]
    assert not dataset(path="full.jsonl") + dataset(path="openai/gsm8k") + dataset(path="s3://a/b")


@pytest.mark.parametrize(
    "model, code",
    [
        ("./nowhere", "no-folder"),
        ("./models/smollm2-135m-instruct", "no-folder"),
        ("a/b/c", "no-folder"),
        ("pkg://no_such_package/x", "no-folder"),
        ("", "no-model"),
        ("Qwen/Qwen2.5 0.5B", "no-model"),
        (5, "no-model"),
    ],
)
def test_reports_a_missing_model(folder, model, code):
    (folder / "models").mkdir()
    assert not list(inputs.check_model(Config({"base_model": str(folder)})))
    (finding,) = inputs.check_model(Config({"base_model": model}))
    assert (finding.where, finding.code) == (f"base_model ({model})", code)


def test_uncached_hub_model_is_an_error_only_offline(monkeypatch):
    from huggingface_hub import constants

    cfg = {"base_model": "no-such-owner/no-such-model"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not list(inputs.check_model(Config(cfg)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert codes(inputs.check_model(Config(cfg))) == ["not-cached"]


def prompts(**cfg):
    return codes(checks.check_prompt_keys(Config(cfg)))


def test_reports_a_missing_template_file(folder):
    assert prompts(chat_template_jinja="think.jinja") == ["no-file"]
    assert prompts(chat_template="think.jinja") == ["file-for-name"]
    assert not prompts(chat_template="chatml")
    (folder / "think.jinja").write_text("{{ messages }}")
    assert not prompts(chat_template_jinja="think.jinja") + prompts(chat_template_jinja="{{ messages }}")


def test_reports_a_missing_or_broken_deepspeed_config(folder):
    (folder / "broken.json").write_text("{")
    (folder / "sound.json").write_text("{}")

    def found(file):
        return codes(checks.check_deepspeed(Config({"deepspeed": file})))

    assert found("nope.json") == found("deepspeed_configs/zero3_bf16.json") == ["no-file"]
    assert found("broken.json") == ["no-json"]
    assert not found("sound.json") + found({"zero_optimization": {}}) + found(None)


def test_reports_examples_in_another_form():
    good = {"question": "2 * 3?", "answer": "2 * 3 = 6 #### 6"}
    assert not prompts(grpo_examples=[good])
    (finding,) = checks.check_prompt_keys(Config({"grpo_examples": [good, {**good, "answer": "6"}]}))
    assert finding.code == "wrong-example" and "grpo_examples[1]" in finding.what


def test_prompt_template_needs_a_place_for_the_question():
    assert prompts(grpo_prompt_template="Q: <think>") == ["no-question"]
    template = {"grpo_prompt_template": "Q: {question} <think>"}
    assert not prompts(**template)
    assert prompts(**template, grpo_system_in="system") == ["unused-key"]


@pytest.mark.parametrize("key", ["grpo_keep_best", "grpo_stop_at"])
def test_best_answers_need_steps_that_answer(key):
    cfg = {"grpo_held_out_rows": 8, "test_datasets": [{}], key: 1}
    (finding,) = checks.check_held_out(Config(cfg))
    assert (finding.where, finding.code) == (key, "no-held-out-rows")
    assert not list(checks.check_held_out(Config({**cfg, "grpo_eval_steps": 5})))


def test_held_out_rows_need_a_dataset():
    cfg = {"grpo_held_out_rows": 8, "test_datasets": [{}]}
    assert not list(checks.check_held_out(Config(cfg)))
    found = checks.check_held_out(Config({**cfg, "test_datasets": None}))
    assert codes(found) == ["no-held-out-rows"]

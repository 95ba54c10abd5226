import sys

import pytest

from axolotl_grpo_plugin.checks import config as checks
from axolotl_grpo_plugin.config import is_named
from axolotl_grpo_plugin.findings import ConfigError, Finding, stop_on


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder whose modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def dataset(**entry):
    return [each.what for each in checks.check_datasets({"datasets": [entry]})]


def test_unknown_key_names_the_nearest():
    cfg = {"axolotl_config_path": "my.yaml", "grpo_system_prmpt": "x", "grpo_system_in": 1, 5: 5}
    (finding,) = checks.check_keys(cfg)
    assert str(finding) == ("my.yaml: grpo_system_prmpt: no such key. Did you mean `grpo_system_prompt`?")


@pytest.mark.parametrize(
    ("cfg", "line"),
    [
        ({"trl": ["num_generations: 8"]}, "trl: not a block of keys. Write each as `key: value` below it."),
        ({"trl": True}, "trl: not a block of keys. Write each as `key: value` below it."),
        ({"vllm": "x"}, "vllm: not a block of keys. Write each as `key: value` below it."),
        ({"datasets": {"path": "rows.jsonl"}}, "datasets: not a list of datasets. Begin each with `- path:`."),
        ({"datasets": 5}, "datasets: not a list of datasets. Begin each with `- path:`."),
        ({"datasets": ["rows.jsonl"]}, "datasets: not a list of datasets. Begin each with `- path:`."),
    ],
)
def test_reports_a_block_of_another_shape(cfg, line):
    (finding,) = [*checks.check_blocks(cfg), *checks.check_datasets(cfg)]
    assert str(finding) == line


def test_reports_missing_transforms(folder):
    (folder / "mine.py").write_text("def rows(cfg, **_): ...\n")
    assert not dataset(type="axolotl_grpo_plugin.gsm8k") + dataset(type="mine.rows")
    assert dataset(type="mine.row") == ["no 'row' in mine"]
    assert dataset(type="no_such_module.rows") == ["there is no module 'no_such_module'"]
    assert not dataset(type="axolotl_grpo_plugin.transforms.gsm8k.gsm8k")
    (finding,) = checks.check_datasets({"datasets": [{"type": "axolotl_grpo_plugin.gsm8"}]})
    assert (finding.what, finding.fix) == ("no 'gsm8' in axolotl_grpo_plugin", "Did you mean `gsm8k`?")


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("def fn(row): ...", None),
        ("def fn(row, tokenizer): ...", None),
        ("def fn(cfg, dataset_idx=0): ...", None),
        ("def fn(cfg): ...", "fn is neither a factory nor a function of one row"),
        ("def fn(): ...", "fn is neither a factory nor a function of one row"),
        ("fn = 3", "'fn' is not a function"),
    ],
)
def test_transform_is_a_factory_or_a_function_of_a_row(folder, monkeypatch, function, what):
    (folder / "tasks").mkdir()
    (folder / "tasks" / "mine.py").write_text(function)
    monkeypatch.delitem(sys.modules, "tasks.mine", raising=False)
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    assert dataset(type="tasks.mine.fn") == ([what] if what else [])


def test_reports_a_files_path_as_transform(folder):
    (folder / "rows.py").write_text("def ask(row): ...\n")
    (finding,) = checks.check_datasets({"datasets": [{"type": "rows.py"}]})
    assert finding.fix == "Write it as rows.ask"


def test_reports_missing_and_empty_files(folder):
    (folder / "empty.jsonl").touch()
    (folder / "full.jsonl").write_text("{}")
    assert dataset(path="empty.jsonl") == ["an empty file"]
    assert dataset(path="nowhere.jsonl") == ["no such file"]
    assert dataset(path="pkg://no_such_package/x.jsonl") == ["no such file in an installed package"]
    assert not dataset(path="full.jsonl") + dataset(path="openai/gsm8k") + dataset(path="s3://a/b")


@pytest.mark.parametrize(
    ("model", "what", "fix"),
    [
        ("./nowhere", "no such folder", "Correct the path, which is relative to the working"),
        ("./models/smollm2-135m-instruct", "no such folder", "Make it with `axolotl grpo fetch"),
        ("models/mine", "no such folder", ""),
        ("~/mine", "no such folder", ""),
        ("a/b/c", "no such folder", ""),
        ("/a", "no such folder", ""),
        ("pkg://no_such_package/x", "no such folder in an installed package", "Check the package"),
        ("", "neither a folder nor a name that the Hugging Face hub allows", "Correct the name"),
        ("Qwen/Qwen2.5 0.5B", "neither a folder nor a name that the Hugging Face hub allows", ""),
    ],
)
def test_reports_a_missing_model(folder, model, what, fix):
    (folder / "models").mkdir()
    assert not list(checks.check_model({"base_model": str(folder)}))
    (finding,) = checks.check_model({"base_model": model})
    assert (finding.where, finding.what) == (f"base_model ({model})", what)
    assert finding.fix.startswith(fix)


def test_uncached_hub_model_is_an_error_only_offline(monkeypatch):
    from huggingface_hub import constants

    cfg = {"base_model": "no-such-owner/no-such-model"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not list(checks.check_model(cfg))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (finding,) = checks.check_model(cfg)
    assert "HF_HUB_OFFLINE" in finding.what


def test_reports_a_missing_template_file(folder):
    cfg = {"chat_template_jinja": "think.jinja"}
    (finding,) = checks.check_template(cfg)
    assert finding[:2] == ("chat_template_jinja (think.jinja)", "no such file")
    (folder / "think.jinja").write_text("{{ messages }}")
    assert not list(checks.check_template(cfg))
    assert not list(checks.check_template({"chat_template_jinja": "{{ messages }}"}))


def test_reports_a_missing_or_broken_deepspeed_config(folder):
    (folder / "broken.json").write_text("{")
    (folder / "sound.json").write_text("{}")

    def findings(file):
        return [str(each) for each in checks.check_deepspeed({"deepspeed": file})]

    assert "deepspeed (nope.json): No such file or directory" in findings("nope.json")[0]
    assert "`axolotl fetch deepspeed_configs`" in findings("deepspeed_configs/zero3_bf16.json")[0]
    assert "not JSON" in findings("broken.json")[0]
    assert not findings("sound.json") + findings({"zero_optimization": {}}) + findings(None)


def test_ignores_plugins_that_are_not_a_list():
    assert not is_named({"plugins": 5}) and not list(checks.check_plugin({"plugins": 5}))


def test_reports_examples_in_another_form():
    good = {"question": "2 * 3?", "answer": "2 * 3 = 6 #### 6"}
    assert not list(checks.check_examples({"grpo_examples": [good]}))
    (finding,) = checks.check_examples({"grpo_examples": [good, {**good, "answer": "6"}]})
    assert "grpo_examples[1]" in finding.what


def test_prompt_template_needs_a_place_for_the_question():
    (finding,) = checks.check_prompt_template({"grpo_prompt_template": "Q: <think>"})
    assert "{question}" in finding.fix
    template = {"grpo_prompt_template": "Q: {question} <think>"}
    assert not list(checks.check_prompt_template(template))
    (finding,) = checks.check_prompt_template({**template, "grpo_system_in": "system"})
    assert finding.where == "grpo_system_in"


def test_held_out_rows_need_a_dataset():
    cfg = {"grpo_held_out_rows": 8, "test_datasets": [{}]}
    assert not list(checks.check_held_out(cfg))
    (finding,) = checks.check_held_out({**cfg, "test_datasets": None})
    assert "no test_datasets" in finding.what


def test_stop_on_raises_with_all_errors():
    stop_on([])
    with pytest.raises(ConfigError) as stopped:
        stop_on([Finding("a", "b.", "Do c"), Finding("d", "e", "f?", "g\n")])
    lines = "axolotl-grpo-plugin: a: b. Do c.\naxolotl-grpo-plugin: d: e. f?"
    assert stopped.value.code == lines

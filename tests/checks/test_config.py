import pytest

from axolotl_grpo_plugin.checks import config as checks
from axolotl_grpo_plugin.config import is_named
from axolotl_grpo_plugin.findings import ConfigError, Finding, stop_on


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of a name that no other test uses, importable as from a working folder."""
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name, code: (tmp_path / f"{name}.py").write_text(code)


def transforms(path):
    cfg = {"axolotl_config_path": "my.yaml", "datasets": [{"path": "x", "type": path}]}
    return [str(finding) for finding in checks.check_transforms(cfg)]


def test_unknown_key_names_the_nearest():
    cfg = {
        "axolotl_config_path": "my.yaml",
        "grpo_system_prmpt": "x",
        "grpo_system_in": "user",
        5: 5,
    }
    (finding,) = checks.check_keys(cfg)
    assert str(finding) == (
        "my.yaml: grpo_system_prmpt: no such key. Did you mean 'grpo_system_prompt'."
    )


def test_reports_missing_transforms(module):
    module("mine", "def rows(cfg): ...\n")
    assert not transforms("axolotl_grpo_plugin.gsm8k")
    assert not transforms("mine.rows")
    assert "no 'row' there. Did you mean 'rows'" in transforms("mine.row")[0]
    assert "there is no module 'no_such_module'" in transforms("no_such_module.rows")[0]
    assert (
        "only in a top-level module" in transforms("axolotl_grpo_plugin.transforms.gsm8k.gsm8k")[0]
    )


def test_reports_a_missing_model_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(checks.check_model({"base_model": str(tmp_path)}))
    (finding,) = checks.check_model({"base_model": "./nowhere"})
    assert (finding.where, finding.what) == ("base_model (./nowhere)", "no such folder")
    (finding,) = checks.check_model({"base_model": "./models/smollm2-135m-instruct"})
    assert finding.fix.startswith("`axolotl grpo fetch smollm2")


def test_paths_are_no_hub_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for path in ("models/mine", "~/mine", "a/b/c", "/a"):
        (finding,) = checks.check_model({"base_model": path})
        assert finding.what == "no such folder"
    (finding,) = checks.check_model({"base_model": "pkg://no_such_package/x"})
    assert "installed package" in finding.what


def test_reports_missing_and_empty_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "full.jsonl").write_text("{}")

    def what(path):
        return [each.what for each in checks.check_files({"datasets": [{"path": path}]})]

    assert what("empty.jsonl") == ["an empty file"]
    assert what("nowhere.jsonl") == ["no such file"]
    assert what("pkg://no_such_package/x.jsonl") == ["no such file in an installed package"]
    assert not what("full.jsonl") + what("openai/gsm8k") + what("s3://a/b.jsonl")


def test_reports_a_missing_template_file(tmp_path):
    file = tmp_path / "think.jinja"
    (finding,) = checks.check_template({"chat_template_jinja": str(file)})
    assert "think.jinja): no such file. `axolotl grpo fetch`" in str(finding)
    file.write_text("{{ messages }}")
    assert not list(checks.check_template({"chat_template_jinja": str(file)}))
    assert not list(checks.check_template({"chat_template_jinja": "{{ messages }}"}))


def test_reports_a_missing_or_broken_deepspeed_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "sound.json").write_text("{}")

    def said(file):
        return [str(each) for each in checks.check_deepspeed({"deepspeed": file})]

    assert "deepspeed (nope.json): No such file or directory" in said("nope.json")[0]
    assert "`axolotl fetch deepspeed_configs`" in said("deepspeed_configs/zero3_bf16.json")[0]
    assert "not JSON" in said("broken.json")[0]
    assert not said("sound.json") + said({"zero_optimization": {"stage": 2}}) + said(None)


def test_reports_a_name_that_the_hub_refuses():
    for name in ("", "Qwen/Qwen2.5 0.5B"):
        (finding,) = checks.check_model({"base_model": name})
        assert "a name that the hub allows" in finding.what


def test_plugins_that_are_no_list_are_not_read():
    assert not is_named({"plugins": 5}) and not list(checks.check_plugin({"plugins": 5}))


def test_reports_examples_in_another_form():
    good = {"question": "2 * 3?", "answer": "2 * 3 = 6 #### 6"}
    assert not list(checks.check_examples({"grpo_examples": [good]}))
    (finding,) = checks.check_examples({"grpo_examples": [good, {**good, "answer": "6"}]})
    assert "grpo_examples[1]" in finding.what


def test_uncached_hub_model_is_an_error_only_offline(monkeypatch):
    from huggingface_hub import constants

    cfg = {"base_model": "no-such-owner/no-such-model"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not list(checks.check_model(cfg))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (finding,) = checks.check_model(cfg)
    assert "HF_HUB_OFFLINE" in finding.what


def test_held_out_rows_need_a_dataset():
    assert not list(checks.check_held_out({"grpo_held_out_rows": 8, "test_datasets": [{}]}))
    assert list(checks.check_held_out({"grpo_held_out_rows": 8}))
    prefetching = {"grpo_held_out_rows": 8, "test_datasets": [{}], "trl": {"async_prefetch": True}}
    (finding,) = checks.check_held_out(prefetching)
    assert "greedy too" in finding.what


def test_stop_on_raises_with_all_errors():
    stop_on([])
    with pytest.raises(ConfigError) as stopped:
        stop_on([Finding("a", "b", "c"), Finding("d", "e", "f", "g\n")])
    assert stopped.value.code == "axolotl-grpo-plugin: a: b. c.\naxolotl-grpo-plugin: d: e. f.\ng"

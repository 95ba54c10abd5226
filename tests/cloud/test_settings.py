"""cloud.yaml: each wrong value is one line with its fix, and no line repeats a secret."""

import re

import pytest
import yaml

from axolotl_grpo_plugin.cloud import settings
from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.commands import train
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.paths import shipped
from tests.cloud.project import write
from tests.conftest import invoke


def wrong(config):
    with pytest.raises(FindingError) as raised:
        read(config, "my.yaml")
    return [line.removeprefix("axolotl-grpo-plugin: ") for line in str(raised.value).splitlines()]


def test_shipped_file_is_valid_and_so_are_its_commented_examples():
    text = shipped("cloud.yaml").read_text()
    config = read(yaml.safe_load(text), "cloud.yaml")
    assert (config.gpu, config.timeout, config.retries) == ("L40S:2", 21600, 2)
    assert list(config.mounts) == ["/workspace/outputs", "/cache"]
    assert config.secrets == [("env", "HF_TOKEN"), ("env", "WANDB_API_KEY")]

    assert set(re.findall(r"^(?:# )?([a-z_]+):", text, re.M)) == set(Settings.model_fields)
    examples = re.findall(r"^# ((?:image|apt_|pip_|ignore|max_|retries).*)", text, re.M)
    config = read(yaml.safe_load("\n".join(examples)), "cloud.yaml")
    assert config.apt_install and config.pip_install and config.ignore
    assert (config.image, config.max_size) == (settings.IMAGE, Settings().max_size)


@pytest.mark.parametrize(
    "config, text",
    [
        ("gpus: 2", "gpus: there is no such key. Did you mean `gpu`?"),
        ("5: 1", "5: there is no such key. Valid names:"),
        ("gpu: L40", "gpu: Modal has no GPU L40. Did you mean `L40S`?"),
        ("gpu: A10:5", "gpu: A10:5 is not a number of GPUs"),
        ("gpu: L40S:two", "gpu: L40S:two is not a number of GPUs"),
        ("gpu: [H100]", "gpu (['H100']): it should be a valid string"),
        ("cpu: '8'", "cpu (8): it should be a valid number"),
        ("timeout: 86401", "timeout (86401): it should be less than or equal to 86400"),
        ("volumes: [outputs]", "volumes[0] (outputs): it should be a valid dictionary"),
        ("volumes: [{name: a}]", "volumes[0].mount ({'name': 'a'}): Field required"),
        ("volumes: [{name: a b, mount: x}]", "volumes[0].name (a b): String should match"),
        ("volumes: [{name: a, mount: ../x}]", "volumes[0].mount: ../x is not a new folder"),
        ("volumes: [{name: a, mount: .}]", "volumes[0].mount: . is not a new folder"),
        ("secrets: [MINE]", "secrets[0]: MINE is not set in your environment. Run `export MINE=…`."),
        ("env: {MINE: null}", "env: MINE is not set in your environment, or not a string"),
        ("env: {A: true}", "env: A is not set in your environment, or not a string"),
    ],
)
def test_wrong_value_is_one_line(config, text):
    config = yaml.safe_load(config) or {}
    (line,) = wrong(config)
    assert line.startswith(f"my.yaml: {text}")
    assert len(wrong(config | {"max_size": 0})) == 2  # all are reported at once


@pytest.mark.parametrize(
    "config",
    [
        "secrets: [{HF_TOKEN: hf_sesame}]",
        "secrets: {HF_TOKEN: hf_sesame}",
        "secrets: [hf_sesame]",
        "secrets: [{modal: x, KEY: hf_sesame}]",
        "secrets: [{modal: hf sesame}]",
        "env: {HF_TOKEN: hf_sesame}",
        "env: [{MY_API_KEY: hf_sesame}]",
        "env: {OPENAI_API_KEY: null}",
        "env: {DB: 'postgres://me:sesame@host/db'}",
        "pip_install: ['git+https://sesame@github.com/me/x']",
        "pip_install: git+https://sesame@github.com/me/x",
    ],
)
def test_secrets_are_refused_and_never_repeated(config, monkeypatch):
    config = yaml.safe_load(config) or {}
    monkeypatch.setenv("OPENAI_API_KEY", "hf_sesame")
    (line,) = wrong(config)
    assert "sesame" not in line


def test_secrets_and_variables_come_from_environment(monkeypatch):
    monkeypatch.setenv("MINE", "here")
    listed = ["HF_TOKEN", "MINE", {"modal": "stored"}]
    config = read({"secrets": listed, "env": {"MINE": None, "A": "1", "MAX_TOKENS": 9}}, "c")
    assert config.secrets[2:] == [("modal", "stored")]
    assert config.env == {"MINE": "here", "A": "1", "MAX_TOKENS": "9"}


@pytest.mark.parametrize(
    "typed, gpu", [("l40s:2", "L40S:2"), ("A10:4", "A10:4"), ("H100!:1", "H100!"), ("X900:8", "X900:8")]
)
def test_gpu_is_written_as_modal_writes_it_and_may_be_unknown(typed, gpu):
    assert read({"gpu": typed}, "c").gpu == gpu


@pytest.mark.parametrize(
    "text, error",
    [
        ("", "it is empty or not a mapping. Begin with provider: grpo-modal."),
        ("- gpu: L40S\n", "it is empty or not a mapping"),
        ("gpu: [\n", "while parsing a flow node"),
        ("gpu: L40S\n", "provider: None is not a provider. Write provider: grpo-modal."),
        ("provider: grpo_modal\n", "provider: grpo_modal is not a provider. Write provider:"),
        ("provider: grpo-modal\ngpus: 2\n", "gpus: there is no such key"),
        ("provider: modal\nwhatever: 1\n", None),
        (None, "No such file or directory"),
    ],
)
def test_file_is_checked_before_axolotl_reads_it(tmp_path, monkeypatch, text, error):
    write(tmp_path, "a.yaml")
    if text is not None:
        write(tmp_path, "cloud.yaml", text=text)
    monkeypatch.setattr(train, "run", lambda *args, **options: 5)
    words = ["train", f"{tmp_path}/a.yaml", "--cloud", f"{tmp_path}/cloud.yaml", "--dry-run"]
    shown = invoke(*words, code=1 if error else 5)
    assert (error or "") in shown.output and shown.output.count("\n") == bool(error)

"""Findings that stop a start before Modal is asked for anything."""

import pytest
import yaml

from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.serving.plan import CommandLine
from tests.cloud.project import CONFIG, write
from tests.conftest import ROOT, Later

preflight, dicts = Later("axolotl_grpo_plugin.cloud.preflight"), Later("axolotl.utils.dict")

MOUNTS = {"/workspace/outputs": "runs", "/cache": "cache"}


@pytest.fixture
def work(tmp_path):
    files = """data/train.jsonl data/more.jsonl rewards/mine.py zero3.json main my.jinja .env
        models/a/config.json build/x.json my/package/__init__.py ../beside/x.jsonl"""
    return write(tmp_path / "work", *files.split())


def findings(cfg, work, *ignore):
    upload = pack(work, ignore, MOUNTS)
    return [
        (finding.level, str(finding))
        for finding in [*preflight.check_addresses(Config(cfg)), *preflight.check_paths(Config(cfg), upload, MOUNTS)]
    ]


@pytest.mark.parametrize(
    "cfg",
    [
        {"base_model": "./models/a", "tokenizer_config": "models/a/", "deepspeed": "zero3.json"},
        {"datasets": [{"path": "json", "data_files": ["data/train.jsonl", "data/*.jsonl"]}]},
        {"datasets": [{"path": "openai/gsm8k", "name": "main"}, {"path": "/data/nowhere.jsonl"}]},
        {"plugins": ["my.package:Plugin"], "trl": {"reward_funcs": ["rewards.mine.score"]}},
        {"wandb_name": "../beside", "output_dir": "../beside", "hub_model_id": "my/x"},
        {"grpo_system_prompt": "and/or / ./ .. or " + "long/" * 9999, "separator": "/"},
        {"trl": {"vllm_server_base_url": "http://localhost:8000"}, "pad_token": "<pad>"},
    ],
)
def test_accepts_strings_that_arrive_or_are_not_paths(work, cfg):
    assert findings(cfg, work) == []


@pytest.mark.parametrize("cfg, ignore, level, text", [
    ("datasets: [{path: data/train.jsonl}]", "data", "error", "datasets[0].path (data/train.jsonl): data/train.jsonl is not sent. Add"),
    ("datasets: [{data_files: data/*.jsonl}]", "data/more.jsonl", "error", "data/more.jsonl is not sent"),
    ("datasets: [{data_files: '**/__init__.py'}]", "my", "error", "my/package/__init__.py is not sent"),
    ("grpo_reward_args: {f: {file: zero3.json}}", "*.json", "error", "f.file (zero3.json): zero3.json is not sent"),
    ("datasets: [{path: build/x.json}]", "none", "error", 'Add "!build/x.json" to ignore'),
    ("trl: {file: ./.env}", "none", "error", "Hidden files and links are never sent"),
    ("datasets: [{path: ../beside/x.jsonl}]", "none", "error", "outside the working folder"),
    ("some_folder: ../beside", "none", "warning", "outside the working folder"),
    ("base_model: '{work}/models/a'", "none", "error", "Write models/a"),
    ("base_model: ./outputs/sft", "none", "skipped", "must be on the Volume runs, as sft"),
    ("base_model: /cache/model", "none", "skipped", "must be on the Volume cache, as model"),
    ("grpo_reward_args: {judge: {base_url: 'http://127.0.0.2/v1'}}", "none", "error", "grpo_reward_args.judge.base_url: the container cannot reach it"),
    ("some_url: https://[::1]:8/v1", "none", "error", "some_url: the container cannot reach it"),
])  # fmt: skip
def test_reports_paths_and_addresses_that_a_container_lacks(work, cfg, ignore, level, text):
    cfg = yaml.safe_load(cfg) or {}
    cfg = yaml.safe_load(yaml.safe_dump(cfg).replace("{work}", str(work)))
    ((found, line),) = findings(cfg, work, ignore)
    assert found == level and text in line


def test_accepts_a_path_that_the_container_has_too(work, monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.cloud.preflight.WORK", str(work))
    assert findings({"base_model": f"{work}/models/a"}, work) == []


def test_shipped_configs_find_their_files_in_the_container():
    upload = pack(ROOT, [], MOUNTS)
    for config in (ROOT / "configs").rglob("*.yaml"):
        cfg = yaml.safe_load(config.read_text())
        found = list(preflight.check_paths(Config(cfg), upload, MOUNTS))
        fetched = "base_model (./models/"  # `axolotl-grpo fetch` writes it; .gitignore names it
        assert not [e for e in found if "sent" in e.what and not e.where.startswith(fetched)]
        assert not list(preflight.check_output(Config(cfg), MOUNTS))


def call(launcher="accelerate", *after):
    return CommandLine("a.yaml", launcher, [], {}, list(after), None)


@pytest.mark.parametrize(
    "keys, gpu, typed, where",
    [
        ({}, "L40S:2", call(), None),
        ({}, None, call(), "trl.use_vllm"),
        ({"trl": {"use_vllm": False}}, None, call(), None),
        ({}, "L40S:2", call("accelerate", "--num-processes", "1"), None),
        ({}, "L40S:2", call("accelerate", "--learning-rat", "1e-6"), "--learning-rat"),
        ({}, "L40S:2", call("torchrun", "--num-processes", "1"), "--num-processes"),
        ({}, "L40S:2", call("python", "--anything"), None),
    ],
)
def test_run_must_fit_the_gpus_and_the_launcher(keys, gpu, typed, where):
    found = preflight.check_run(Config(dicts.DictDefault(CONFIG | keys)), gpu, typed)
    assert [finding.where for finding in found] == ([where] if where else [])


@pytest.mark.parametrize(
    "cloud, keys, expected",
    [
        ("", "", []),
        ("", "wandb_project: p", [("error", "wandb_project")]),
        ("", "{wandb_project: p, wandb_mode: offline}", []),
        ("", "{wandb_project: p, use_wandb: false}", []),
        ("env: {WANDB_MODE: offline}", "wandb_project: p", []),
        ("secrets: [{modal: mine}]", "wandb_project: p", [("warning", "wandb_project")]),
        ("", "hub_model_id: me/model", [("error", "hub_model_id")]),
    ],
)
def test_secrets_that_the_config_needs_must_be_sent(cloud, keys, expected):
    cloud = yaml.safe_load(cloud) or {}
    keys = yaml.safe_load(keys) or {}
    found = preflight.check_secrets(Config(dicts.DictDefault(keys)), read(cloud, "cloud.yaml"))
    assert [(finding.level, finding.where) for finding in found] == expected

"""Findings that stop a start before Modal is asked for anything."""

from pathlib import Path

import pytest
import yaml
from axolotl.utils.dict import DictDefault

from axolotl_grpo_plugin.cloud import preflight
from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.serving.plan import Call
from tests.cloud.project import CONFIG

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
MOUNTS = {"/workspace/outputs": "runs", "/cache": "cache"}
JUDGE = "axolotl_grpo_plugin.rewards.judge.judge"


@pytest.fixture
def work(tmp_path):
    for path in (
        *"data/train.jsonl data/more.jsonl rewards/mine.py zero3.json main my.jinja".split(),
        *"models/a/config.json build/x.json my/package/__init__.py .env ../beside/x.jsonl".split(),
    ):
        file = tmp_path / "work" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    return tmp_path / "work"


def found(cfg, work, *ignore):
    upload = pack(work, ignore, MOUNTS)
    return [(each.level, str(each)) for each in preflight.check_strings(cfg, upload, MOUNTS)]


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
def test_accepts(work, cfg):
    assert found(cfg, work) == []


@pytest.mark.parametrize(
    ("cfg", "ignore", "level", "said"),
    [
        ({"datasets": [{"path": "data/train.jsonl"}]}, "data", "error", "datasets[0].path (data/train.jsonl): data/train.jsonl is not sent: a pattern of the plugin"),
        ({"datasets": [{"data_files": "data/*.jsonl"}]}, "data/more.jsonl", "error", "data/more.jsonl is not sent"),
        ({"trl": {"reward_funcs": ["rewards.mine.score"]}}, "rewards", "error", "rewards/mine.py is not sent"),
        ({"plugins": ["my.package:Plugin"]}, "my", "error", "my/package/__init__.py is not sent"),
        ({"grpo_reward_args": {"f": {"file": "zero3.json"}}}, "*.json", "error", "f.file (zero3.json): zero3.json is not sent"),
        ({"datasets": [{"path": "build/x.json"}]}, "none", "error", 'Add "!build/x.json" to ignore'),
        ({"trl": {"file": "./.env"}}, "none", "error", "credential"),
        ({"datasets": [{"path": "../beside/x.jsonl"}]}, "none", "error", "outside of the working folder"),
        ({"some_folder": "../beside"}, "none", "warning", "outside of the working folder"),
        ({"base_model": "{work}/models/a"}, "none", "error", "Write models/a"),
        ({"base_model": "./outputs/sft"}, "none", "skipped", "must be on the Volume runs, as sft"),
        ({"base_model": "/cache/model"}, "none", "skipped", "must be on the Volume cache, as model"),
        ({"grpo_reward_args": {"judge": {"base_url": "http://127.0.0.2/v1"}}}, "none", "error", "grpo_reward_args.judge.base_url: the container cannot reach it"),
        ({"some_url": "https://[::1]:8/v1"}, "none", "error", "some_url: the container cannot reach it"),
    ],
)  # fmt: skip
def test_reports(work, cfg, ignore, level, said):
    cfg = yaml.safe_load(yaml.safe_dump(cfg).replace("{work}", str(work)))
    ((there, line),) = found(cfg, work, ignore)
    assert there == level and said in line


def test_shipped_configs_arrive_whole():
    repository, ignored = (pack(ROOT, each, MOUNTS) for each in ([], ["configs", "rewards"]))
    missed = set()
    for config in CONFIGS:
        cfg = yaml.safe_load(config.read_text())
        found = list(preflight.check_strings(cfg, repository, MOUNTS))
        made = "base_model (./models/"  # by `axolotl grpo fetch`, and in .gitignore
        assert not [e for e in found if "sent" in e.what and not e.where.startswith(made)]
        assert not list(preflight.check_output(cfg, MOUNTS, "output_dir", "grpo_rollouts"))
        missed |= {each.what.split()[0] for each in preflight.check_strings(cfg, ignored, MOUNTS)}
    assert {"configs/deepspeed/zero3.json", "rewards/true_equation.py"} <= missed


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        *(("./outputs/x", None), ("/workspace/outputs/x", None), ("/cache/x", None)),
        *(("./runs/x", "./outputs/x"), ("./outputs/../x", "./outputs/x")),
        *(("./outputs2/x", "./outputs/x"), (None, "./outputs/model-out")),
    ],
)
def test_output_must_be_on_a_volume(path, fix):
    findings = list(preflight.check_output({"output_dir": path}, MOUNTS, "output_dir"))
    assert [str(each).rpartition("Write output_dir: ")[2].split(",")[0] for each in findings] == (
        [fix] if fix else []
    )


def call(launcher="accelerate", *after):
    return Call("a.yaml", launcher, [], {}, list(after), None)


@pytest.mark.parametrize(
    ("keys", "gpu", "asked", "where"),
    [
        ({}, "L40S:2", call(), None),
        ({}, None, call(), "trl.use_vllm"),
        ({"trl": {"use_vllm": False}}, None, call(), None),
        ({"save_strategy": "no"}, "L40S:2", call(), "save_strategy"),
        ({"rl": "dpo"}, "L40S:2", call(), "rl (dpo)"),
        ({"plugins": []}, "L40S:2", call(), "plugins"),
        ({}, "L40S:2", call("accelerate", "--num-processes", "1"), None),
        ({}, "L40S:2", call("accelerate", "--learning-rat", "1e-6"), "--learning-rat"),
        ({}, "L40S:2", call("accelerate", "--canary=1"), "--canary"),
        ({}, "L40S:2", call("torchrun", "--num-processes", "1"), "--num-processes"),
        ({}, "L40S:2", call("python", "--anything"), None),
    ],
)
def test_run(keys, gpu, asked, where):
    findings = preflight.check_run(DictDefault(CONFIG | keys), gpu, asked)
    assert [each.where for each in findings] == ([where] if where else [])


WANDB = ("error", "wandb_project")


@pytest.mark.parametrize(
    ("cloud", "keys", "findings"),
    [
        ({}, {}, []),
        ({}, {"wandb_project": "p"}, [WANDB]),
        ({}, {"wandb_project": "p", "wandb_mode": "offline"}, []),
        ({}, {"wandb_project": "p", "use_wandb": False}, []),
        ({"env": {"WANDB_MODE": "offline"}}, {"wandb_project": "p"}, []),
        ({"secrets": [{"modal": "mine"}]}, {"wandb_project": "p"}, [("warning", WANDB[1])]),
        ({}, {"hub_model_id": "me/model"}, [("error", "hub_model_id")]),
        ({}, {"trl": {"reward_funcs": [JUDGE]}}, [("warning", f"grpo_reward_args ({JUDGE})")]),
        ({"secrets": ["OPENAI_API_KEY"]}, {"trl": {"reward_funcs": [JUDGE]}}, []),
    ],
)
def test_secrets_that_the_config_needs(cloud, keys, findings, monkeypatch):
    for name in ("HF_TOKEN", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "value")
    said = preflight.check_secrets(DictDefault(keys), read(cloud, "cloud.yaml"))
    assert [(each.level, each.where) for each in said] == findings

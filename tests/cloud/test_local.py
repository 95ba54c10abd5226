from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.cloud.local import check_local, check_output
from axolotl_grpo_plugin.cloud.parcel import pack

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
MOUNTS = {"/workspace/outputs": "runs", "/cache": "cache"}


@pytest.fixture
def work(tmp_path):
    """A working folder, and beside it a folder that is not sent."""
    for path in (
        *"data/train.jsonl data/more.jsonl rewards/mine.py zero3.json main train my.jinja".split(),
        *"models/a/config.json build/x.json my/package/__init__.py .env adapter/x.bin".split(),
        "../beside/train.jsonl",
    ):
        file = tmp_path / "work" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    return tmp_path / "work"


def found(cfg, work, *ignore):
    return list(check_local(cfg, pack(work, ignore, 1, MOUNTS), MOUNTS))


def test_what_is_in_the_parcel_is_fine(work):
    cfg = {
        "base_model": "./models/a",
        "tokenizer_config": "models/a/",
        "datasets": [
            {"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k", "name": "main"},
            {"path": "json", "data_files": ["data/train.jsonl", "data/*.jsonl"], "split": "train"},
            {"path": "openai/gsm8k"},
        ],
        "deepspeed": "zero3.json",
        "chat_template_jinja": "my.jinja",
        "lora_model_dir": "adapter",
        "trl": {"reward_funcs": ["rewards.mine.score"]},
        "plugins": ["axolotl_grpo_plugin.GRPOPlugin", "my.package:Plugin"],
        "seed": 42,
    }
    assert found(cfg, work) == []


@pytest.mark.parametrize(
    ("ignore", "cfg", "where"),
    [
        (
            "data",
            {"datasets": [{"path": "data/train.jsonl"}]},
            "datasets[0].path (data/train.jsonl)",
        ),
        ("data", {"datasets": [{"path": "data"}]}, "datasets[0].path (data)"),
        (
            "data/more.jsonl",
            {"test_datasets": [{"data_files": ["data/*.jsonl"]}]},
            "test_datasets[0].data_files[0] (data/*.jsonl)",
        ),
        ("*.json", {"deepspeed": "zero3.json"}, "deepspeed (zero3.json)"),
        ("*.jinja", {"chat_template_jinja": "./my.jinja"}, "chat_template_jinja (./my.jinja)"),
        ("adapter", {"lora_model_dir": "adapter"}, "lora_model_dir (adapter)"),
        ("models", {"base_model": "models/a"}, "base_model (models/a)"),
        (
            "rewards",
            {"trl": {"reward_funcs": ["rewards.mine.score"]}},
            "trl.reward_funcs[0] (rewards.mine.score)",
        ),
        ("my", {"plugins": ["my.package:Plugin"]}, "plugins[0] (my.package:Plugin)"),
        (
            "zero3.json",
            {"grpo_reward_args": {"f": {"file": "zero3.json"}}},
            "grpo_reward_args.f.file",
        ),
    ],
)
def test_what_a_pattern_leaves_out_is_an_error(work, ignore, cfg, where):
    assert found(cfg, work) == []
    (finding,) = found({"axolotl_config_path": "my.yaml", **cfg}, work, ignore)
    assert finding.where.startswith(f"my.yaml: {where}")
    assert f"not sent: the pattern {ignore} leaves it out" in finding.what
    assert finding.fix == "Remove it from `ignore` in cloud.yaml"
    assert finding.level == "error"


def test_what_is_never_sent_is_an_error(work):
    (finding,) = found({"trl": {"secrets_file": "./.env"}}, work)
    assert "taken for a secret" in finding.what
    (finding,) = found({"datasets": [{"path": "build/x.json"}]}, work)
    assert finding.fix == '`ignore: ["!build"]` brings it back'
    (work / "linked").symlink_to(work / "data")
    (finding,) = found({"datasets": [{"path": "linked/train.jsonl"}]}, work)
    assert finding.what == "it is not sent: Modal sends no linked folder"
    (work / "broken.jsonl").symlink_to("nowhere")
    (finding,) = found({"datasets": [{"path": "broken.jsonl"}]}, work)
    assert finding.what == "it is not sent: No such file or directory"


def test_what_is_outside_is_an_error(work, monkeypatch):
    monkeypatch.setenv("HOME", str(work.parent))
    beside = work.parent / "beside" / "train.jsonl"
    for path in ("../beside/train.jsonl", str(beside), "~/beside/train.jsonl"):
        (finding,) = found({"datasets": [{"path": path}]}, work)
        assert finding.what == "it is outside of the working folder, and not sent"
        assert finding.fix == (
            f"Copy it into the working folder, or `modal volume put runs {beside} /train.jsonl` "
            "and write /workspace/outputs/train.jsonl"
        )
        assert finding.level == "error"
    # Whether a folder under a key of unknown meaning is read cannot be known.
    (finding,) = found({"some_folder": str(beside.parent)}, work)
    assert finding.level == "warning"


def test_an_absolute_path_into_the_working_folder_is_another_in_the_container(work):
    (finding,) = found({"base_model": str(work / "models/a")}, work)
    assert finding.what == "the working folder is /workspace in the container"
    assert finding.fix == "Write models/a"


def test_what_is_on_a_volume_is_not_looked_at(work):
    for value, volume in {
        "./outputs/sft/checkpoint-10": "runs, as sft/checkpoint-10",
        "/workspace/outputs/sft": "runs, as sft",
        "/cache/model": "cache, as model",
    }.items():
        (finding,) = found({"base_model": value}, work)
        assert (finding.level, finding.what) == ("skipped", f"it must be on the Volume {volume}")


@pytest.mark.parametrize(
    "cfg",
    [
        {"base_model": "Qwen/Qwen2.5-1.5B-Instruct"},
        {"base_model": "pkg://axolotl_grpo_plugin/quickstart/model"},
        {"datasets": [{"path": "/data/nowhere.jsonl"}, {"path": "https://x.org/train.jsonl"}]},
        {"wandb_name": "../beside", "mlflow_tracking_uri": "../beside"},
        {"output_dir": "../beside", "dataset_prepared_path": "../beside", "hub_model_id": "my/x"},
        {"grpo_system_prompt": "and/or / ./ .. or " + "long/" * 9999, "separator": "/"},
        {"chat_template_jinja": "{% for m in messages %}{{ m['content'] }}/{% endfor %}\n"},
        {"rl": "grpo", "sequence_len": 800, "lr": "1e-6", "empty": "", "nothing": None},
    ],
)
def test_what_names_nothing_here_is_left_alone(work, cfg):
    assert found(cfg, work) == []


def test_a_word_is_a_path_only_where_one_is_wanted(work):
    cfg = {"datasets": [{"path": "openai/gsm8k", "name": "main", "split": "train"}]}
    assert found(cfg, work, "main", "train") == []
    assert found({"datasets": [{"path": "main"}]}, work, "main")


@pytest.fixture(scope="module")
def repository():
    return pack(ROOT, [], 1e6, MOUNTS)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_all_that_a_shipped_config_names_arrives(config, repository):
    cfg = yaml.safe_load(config.read_text())
    assert not [finding for finding in check_local(cfg, repository, MOUNTS)]
    assert not list(check_output(cfg, MOUNTS))
    assert config.relative_to(ROOT).as_posix() in repository.sizes


def test_the_shipped_configs_name_local_files():
    """Else the test above says nothing: each of them is missed where it is left out."""
    ignored = pack(ROOT, ["configs", "rewards"], 1e6, MOUNTS)
    missed = {
        str(finding.where).partition(" ")[2]
        for config in CONFIGS
        for finding in check_local(yaml.safe_load(config.read_text()), ignored, MOUNTS)
    }
    assert missed == {
        "(configs/deepspeed/zero3.json)",
        "(configs/gym/tasks.jsonl)",
        "(configs/templates/qwen-think.jinja)",
        "(rewards.true_equation.true_equation_reward_func)",
    }


@pytest.mark.parametrize(
    "path", ["./outputs/x", "outputs/x/y", "/workspace/outputs/x", "/cache/x", "./outputs"]
)
def test_an_output_on_a_volume(path):
    assert not list(check_output({"output_dir": path, "grpo_rollouts": True}, MOUNTS))


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        ("./runs/x", "./outputs/x"),
        ("/data/x", "./outputs/x"),
        ("./outputs/../x", "./outputs/x"),
        ("./outputs2/x", "./outputs/x"),
        (".", "./outputs/workspace"),
        (None, "./outputs/model-out"),
    ],
)
def test_an_output_on_no_volume(path, fix):
    (finding,) = check_output({"output_dir": path}, MOUNTS)
    assert finding.fix.startswith(f"Write output_dir: {fix}, or mount a Volume there")
    assert finding.what.endswith("(the default)") is (path is None)
    (finding,) = check_output({"output_dir": path}, {})
    assert finding.fix == "Mount a Volume there (volumes in cloud.yaml)"
    (finding,) = check_output(
        {"output_dir": path}, {"/data": "d"} if path != "/data/x" else {"/d": "d"}
    )
    assert finding.level == "error"


def test_other_things_that_are_written():
    (finding,) = check_output({"output_dir": "outputs/x", "grpo_rollouts": "rollouts"}, MOUNTS)
    assert finding.fix.startswith("Write grpo_rollouts: ./outputs/rollouts")
    prepared = ("dataset_prepared_path",)
    (finding,) = check_output({}, {"/cache": "cache"}, prepared)
    assert finding.fix.startswith("Write dataset_prepared_path: /cache/last_run_prepared")
    assert not list(check_output({"dataset_prepared_path": "/cache/p"}, MOUNTS, prepared))

"""`axolotl-grpo check` finds the mistakes in broken configs. tests/checks has each check's own cases."""

import inspect
import json
import os
import re

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from tests.conftest import invoke
from tests.e2e.conftest import shipped_config

QUICKSTART = shipped_config()
DATASET = QUICKSTART["datasets"][0]
VLLM = {"use_vllm": True, "vllm_mode": "server"}
COLOCATE = {"use_vllm": True, "vllm_mode": "colocate"}


def dataset(**keys):
    return {"datasets": [{**DATASET, **keys}]}


PLUGIN = "name its plugin in `plugins:`"
# Keys that nothing reads: the key, its value, the finding's level and words.
UNREAD = [
    ("trl.rewrad_funcs", ["a.b"], "error", "Did you mean `trl.reward_funcs`?"),
    ("trl.vllm_max_model_len", 800, "error", "Did you mean `vllm.max_model_len`?"),
    ("trl.steps_per_generation", 4, "error", "ignores it. Remove it"),  # TRL has it, Axolotl not
    ("num_generations_eval", 4, "warning", "ignores it. Move it to grpo_trl_args"),
    ("learning_rat", 1e-5, "error", "Did you mean `learning_rate`?"),
    ("kl_beta", 0.1, "error", "Did you mean `rl_beta`?"),
    ("weights", 1, "warning", f"ignores it. Remove it, or {PLUGIN}."),  # a word of Axolotl's messages
    ("run_name", "x", "error", "ignores it. Write wandb_name"),  # TRL's
    ("num_generations", 4, "error", "Did you mean `trl.num_generations`?"),
    ("liger_glu_activation", True, "warning", "name its plugin in `plugins:`"),
    ("max_prompt_length", 512, "error", "Write grpo_max_prompt_length"),
    ("max_prompt_len", 512, "warning", "never reads it. Set grpo_max_prompt_length"),
    ("grpo_max_promt_length", 512, "error", "Did you mean `grpo_max_prompt_length`?"),
    ("trl.generation_kwargs", {"seed": 1}, "warning", "never reads it. Move it to grpo_trl_args"),
    ("trl.reward_num_workers", 4, "warning", "Set trl.use_data_producer: true, or remove it"),
    ("vllm.max_model_len", 128, "warning", "Set trl.use_vllm: true, trl.vllm_mode: server"),
]

# Values of another type: the key, its value, and words of Axolotl's message.
WRONG_TYPES = [
    ("max_steps", "many", "max_steps ('many'): not a whole number"),
    ("trl.reward_funcs", [None], "trl.reward_funcs"),
    ("trl.reward_funcs", 5, "trl.reward_funcs"),
    ("grpo_reward_args", ["a"], "grpo_reward_args"),
    ("context_parallel_size", "two", "context_parallel_size: Input should be"),
    ("datasets", [{**DATASET, "path": 5}], "datasets[].path: Input should be"),
    ("bf16", "yess", "bf16: Input should be 'auto', or a valid boolean"),
    ("grpo_reward_isolation", 3, "grpo_reward_isolation: Input should be 'process' or 'inline', or a valid dict"),
    ("base_model", 5, "base_model (5): not a text"),
    ("plugins", 5, "plugins"),
    ("vllm", "x", "vllm"),
]

# Fields in grpo_trl_args: the field, its value, and words of the error.
TRL_ARGS = [
    ("beta", 0.1, "Axolotl sets this field. Set trl.beta instead."),
    ("steps_per_generation", 4, "Set trl.generation_batch_size instead."),
    ("use_liger_kernel", True, "Set trl.use_liger_loss instead."),
    ("learning_rate", 1e-5, "Axolotl sets this field. Set Axolotl's own key instead."),
    ("top_entropy_quantil", 0.2, "no such field. Did you mean `top_entropy_quantile`?"),
    ("top_entropy_quantile", "high", "'high' is not of type float. Correct the value."),
    ("delta", "high", "'high' is not of type float | None. Correct the value."),
    ("generation_kwargs", 5, "5 is not of type dict | str | None. Correct the value."),
]

# Other mistakes: changes of the quickstart, the machine's GPUs, the finding's level and words.
MISTAKES = {
    "misspelt key of a dataset": (dataset(splt="train"), 0, "error", "datasets[0].splt", "Did you mean `split`?"),
    "a server's key for colocate": (
        {"trl": COLOCATE, "vllm": {"enforce_eager": True}}, 1, "warning", "vllm.enforce_eager",
        "Set trl.vllm_mode: server",
    ),
    # imports and datasets
    "SFT's type": (
        dataset(type="chat_template"), 0, "error", "datasets[0]", "type", "axolotl_grpo_plugin.qa",
    ),
    "missing plugin": (
        {"plugins": [*QUICKSTART["plugins"], "no_such_package.Plugin"]}, 0, "error",
        "plugins (no_such_package.Plugin)", "cannot be loaded: ModuleNotFoundError",
    ),
    # names that Axolotl's schema takes as any text
    "misspelt optimizer": ({"optimizer": "adamw_troch"}, 0, "error", "optimizer", "Did you mean `adamw_torch`?"),
    "unknown hub strategy": (
        {"hub_model_id": "me/x", "hub_strategy": "foo"}, 0, "error", "hub_strategy", "every_save",
    ),
    # one mistake for each of the other checks
    "another model's template": (
        {"chat_template": "gemma"}, 0, "warning", "it ends an answer with '<end_of_turn>', which is no token",
    ),
    "long prompts that nothing drops": (
        {"trl": COLOCATE, "vllm": {"max_model_len": 80}, "datasets": [{"path": "chats.jsonl"}]}, 1, "error",
        "so vLLM ends the run at the first of them",
    ),
    "a server and a trainer on one GPU": (
        {"trl": VLLM, "vllm": {"max_model_len": 128}}, 1, "error", "set trl.vllm_mode: colocate",
    ),
    "earlier run's folder": ({"output_dir": "./used"}, 0, "warning", "output_dir (./used)", "checkpoint-5"),
}  # fmt: skip


def merged(changes):
    return QUICKSTART | changes | {"trl": QUICKSTART["trl"] | changes.get("trl", {})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a user's rows."""
    folder = tmp_path_factory.mktemp("work")
    chat = {"prompt": [{"role": "user", "content": "1 + 1? " * 40}], "answer": "2"}
    (folder / "chats.jsonl").write_text(json.dumps(chat) + "\n")
    (folder / "used" / "checkpoint-5").mkdir(parents=True)
    import axolotl.core.trainers.grpo  # it sets environment variables  # noqa: F401

    return folder


@pytest.fixture
def check(folder, monkeypatch):
    """Check the quickstart with changes, in the working folder."""
    from axolotl_grpo_plugin.commands import check as command

    monkeypatch.chdir(folder)

    def run(changes, gpus=0, offline=True):
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(merged(changes)))
        return command.check(str(file), command.machine_of(gpus, None, None), offline)

    return run


def said(checked, level):
    return [str(finding) for finding in checked.findings if finding.level == level]


def set_key(key, value):
    outer, _, inner = key.partition(".")
    return {outer: {inner: value}} if inner else {outer: value}


def test_reports_unread_keys(check):
    changes = {}
    for key, value, *_ in UNREAD:
        outer, _, inner = key.partition(".")
        changes[outer] = {**changes.get(outer, {}), inner: value} if inner else value
    checked = check(changes)
    for key, _, level, words in UNREAD:
        lines = said(checked, level)
        assert [line for line in lines if line.startswith(f"{key}: ") and words in line], (key, lines)


@pytest.mark.parametrize("key, value, words", WRONG_TYPES)
def test_reports_a_value_of_another_type(check, key, value, words):
    errors = said(check(set_key(key, value)), "error")
    assert [line for line in errors if words in line], errors
    assert not [line for line in errors if "the check itself failed" in line]


@pytest.mark.parametrize("field, value, words", TRL_ARGS)
def test_reports_a_wrong_field_of_trl(field, value, words):
    from axolotl_grpo_plugin.checks.trl_args import check_trl_args

    (finding,) = check_trl_args(Config({"grpo_trl_args": {field: value}}))
    assert finding.where == f"grpo_trl_args.{field}" and str(finding).endswith(words)


def test_passes_fields_of_trl_with_their_types():
    from axolotl.utils.dict import DictDefault

    from axolotl_grpo_plugin.checks.trl_args import check_trl_args, trl_args

    given = {"delta": "1e-6", "num_generations_eval": "4", "shuffle_dataset": "false"}
    cfg = Config(DictDefault({"grpo_trl_args": {**given, "generation_kwargs": {"stop": ["a"]}}}))
    assert not list(check_trl_args(cfg))
    passed = {"delta": 1e-6, "num_generations_eval": 4, "shuffle_dataset": False}
    assert trl_args(cfg) == {**passed, "generation_kwargs": {"stop": ["a"]}}
    assert type(trl_args(cfg)["generation_kwargs"]) is dict


def test_loss_types_are_those_of_trl():
    from trl import GRPOTrainer

    from axolotl_grpo_plugin.checks.traps import LOSS_TYPES

    source = inspect.getsource(GRPOTrainer._compute_loss)
    compared = re.findall(r'self\.loss_type (?:==|in) (\[.*?\]|"\w+")', source)
    assert set(re.findall(r"\w+", " ".join(compared))) == set(LOSS_TYPES)


class Key:
    """A config whose values are the names of its keys. Axolotl's code takes all branches with it."""

    def __init__(self, name=""):
        self.name = name

    def __getattr__(self, key):
        return Key(f"{self.name}.{key}".removeprefix("."))

    def __eq__(self, other):
        return True

    __gt__, __hash__ = __eq__, None


def test_each_field_of_trl_has_the_key_of_axolotl_or_fits_into_grpo_trl_args():
    from dataclasses import fields

    from axolotl.core.trainers.grpo import GRPOStrategy
    from transformers import TrainingArguments
    from trl import GRPOConfig

    from axolotl_grpo_plugin.recipes.trl_fields import free_fields, key_of_axolotl

    passed = GRPOStrategy.set_training_args_kwargs(Key())
    names = {field.name for field in fields(GRPOConfig)}
    for name in names & passed.keys():
        assert key_of_axolotl(name) == getattr(passed[name], "name", f"trl.{name}")
    of_transformers = {field.name for field in fields(TrainingArguments)}
    # core/builders/rl.py sets beta. TRL takes one of generation_batch_size and steps_per_generation.
    others = {"beta", "steps_per_generation"}
    assert free_fields().keys() == names - of_transformers - passed.keys() - others


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_reports_the_mistake(check, mistake):
    changes, gpus, level, *words = mistake
    before = dict(os.environ)
    checked = check(changes, gpus)
    lines = said(checked, level)
    assert any(all(word in line for word in words) for line in lines), checked.findings
    assert checked.ok == (not said(checked, "error"))
    assert dict(os.environ) == before


def test_accepts_a_sound_config(check):
    more = {"x-anchors": {"a": 1}, "wandb_nam": None, "fsdp_version": 2, "micro_batch_size": 16}
    more |= {"context_parallel_size": "1", "ddp_timeout": "3600", "grpo_reward_batch_timeout": 60}
    checked = check(more, gpus=2)
    assert (checked.findings, checked.verdict) == ([], "OK")


TWICE = yaml.safe_dump(QUICKSTART) + "trl:\n  beta: 0.1\n"


@pytest.mark.parametrize(
    "text, words",
    [("a: [", ""), ("- a", ""), ("", ""), (TWICE, "trl: the key is written twice, and line")],
    ids=["broken", "a list", "empty", "key twice"],
)
def test_reports_a_file_that_is_no_config(tmp_path, text, words):
    from axolotl_grpo_plugin.commands.check import check, machine_of

    file = tmp_path / "config.yaml"
    file.write_text(text)
    errors = said(check(str(file), machine_of(0, None, None), offline=True), "error")
    assert [error for error in errors if error.startswith(words)], errors


def test_check_that_fails_keeps_the_other_findings(check, monkeypatch):
    from axolotl_grpo_plugin.checks import traps

    def fails(*_):
        raise KeyError("nope")

    monkeypatch.setattr(traps, "check_traps", fails)
    failed, other = map(str, check({"my_note": 1}).findings)
    assert "the check itself failed: KeyError: 'nope'. Please report it" in failed
    assert "Traceback" in failed
    assert other.startswith("my_note:")


@pytest.mark.parametrize("changes", [{"chat_template_jinja": "{% for message in"}, {"datasets": {"path": "x"}}])
def test_one_mistake_is_one_finding(check, changes):
    """Not one finding per row, and no findings that follow from the first."""
    assert [finding.level for finding in check(changes).findings] == ["error"]


def test_unreachable_hub_skips_checks(check, monkeypatch):
    from huggingface_hub import constants

    from axolotl_grpo_plugin.data import hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "answers", lambda: False)
    changes = {"base_model": "Qwen/Qwen2.5-1.5B-Instruct", "learning_rate": 1e-6}
    changes |= dataset(path="openai/gsm8k", name="main")
    findings = [finding for finding in check(changes, offline=False).findings if finding.level != "warning"]
    assert {finding.level for finding in findings} == {"skipped"}, findings
    assert any("the hub does not answer" in str(finding) for finding in findings)


@pytest.mark.parametrize("example", ["sudoku", "multi_turn", "multi_env"])
def test_accepts_the_keys_of_axolotls_own_grpo_configs(example):
    """Another plugin reads most of their keys. Axolotl ships no other GRPO configs."""
    import axolotl.integrations.nemo_gym as nemo_gym

    from axolotl_grpo_plugin.checks.ignored import check_ignored
    from axolotl_grpo_plugin.checks.validation import loaded_plugins
    from axolotl_grpo_plugin.config import read_config

    cfg = read_config(f"{nemo_gym.__path__[0]}/examples/nemo_gym_{example}.yaml")
    with loaded_plugins(cfg):
        assert [str(finding) for finding in check_ignored(cfg)] == []


def test_accepts_every_key_of_axolotls_schema():
    from axolotl.utils.schemas.config import AxolotlInputConfig

    from axolotl_grpo_plugin.checks.ignored import check_ignored

    every = {field.alias or name: 1 for name, field in AxolotlInputConfig.model_fields.items()}
    # Axolotl's validators move or refuse these older keys.
    every |= {"dataset_processes": 1, "evaluation_strategy": "no", "debug": False, "shard": False}
    assert [str(finding) for finding in check_ignored(Config(every))] == []


SWITCHES = [{}, VLLM, COLOCATE, {"use_data_producer": True}, {"sync_ref_model": True}]
# The builder passes the first four. Axolotl's trainers pass the others, and do nothing with them here.
BUILT = {"trl.beta", "trl.reward_funcs", "trl.rollout_func", "trl.vllm_mode"}
IDLE = {
    *("trl.replay_buffer_size", "trl.replay_recompute_logps"),
    *("trl.reroll_start_fraction", "trl.reroll_max_groups"),
    *("trl.skip_zero_advantage_batches", "trl.vllm_lora_sync"),  # checks/traps.py reports these two
}


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_reports_exactly_the_keys_that_axolotl_does_not_pass(switch):
    from dataclasses import fields

    from axolotl.cli.vllm_serve import VllmServeArguments
    from axolotl.core.trainers.grpo import GRPOStrategy
    from axolotl.utils.dict import DictDefault
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    from axolotl_grpo_plugin.checks.ignored import check_unread

    def passed(trl, vllm):
        cfg = DictDefault({"trl": trl, "vllm": vllm, "context_parallel_size": 1})
        producing = trl.get("use_data_producer") or trl.get("async_prefetch")
        kind = GRPOStrategy.get_training_args_class(bool(producing))
        arguments = GRPOStrategy.set_training_args_kwargs(cfg)
        known = {field.name for field in fields(kind)}
        served = {"serve_module", *(field.name for field in fields(VllmServeArguments))}
        server = [vllm.get(name) for name in sorted(served)] if trl.get("vllm_mode") == "server" else []
        return {key: value for key, value in arguments.items() if key in known}, server

    wrong = []
    for name, schema in (("trl", TRLConfig), ("vllm", VllmConfig)):
        for key in schema.model_fields.keys() - switch.keys():
            plain = {"trl": {"max_completion_length": 8, **switch}, "vllm": {}}
            changed = {**plain, name: {**plain[name], key: 3}}
            is_read = f"{name}.{key}" in BUILT or passed(**plain) != passed(**changed)
            is_reported = any(check_unread(Config(changed)))
            if is_reported == is_read and f"{name}.{key}" not in IDLE:
                wrong.append(key)
    assert not wrong, wrong


def test_command_checks_several_configs_and_folders(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name, changes in (("sound", {}), ("broken", set_key("trl.rewrad_funcs", ["a.b"]))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(merged(changes)))
    sound, broken = json.loads(invoke(*"check sound.yaml broken.yaml --gpus 0 --offline --json".split(), code=1).stdout)
    assert (sound["ok"], sound["verdict"], sound["findings"]) == (True, "OK", [])
    assert (broken["ok"], broken["verdict"]) == (False, "errors: 1")
    assert broken["findings"][0]["where"] == "trl.rewrad_funcs"
    assert "no YAML file in this folder" in invoke("check", "used", "--offline", code=2).output

"""The keys of the typed config are Axolotl's. `check` and `train` name a number out of range before the model loads."""

import pytest
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.fsdp import FSDPConfig
from axolotl.utils.schemas.trl import TRLConfig
from axolotl.utils.schemas.vllm import VllmConfig
from pydantic import TypeAdapter
from transformers import TrainingArguments
from transformers.generation import logits_process

from axolotl_grpo_plugin import args
from axolotl_grpo_plugin import config as typed
from axolotl_grpo_plugin.checks.ranges import RANGES
from axolotl_grpo_plugin.checks.trl_args import free_fields
from axolotl_grpo_plugin.commands.check import check, machine_of
from axolotl_grpo_plugin.plugin import GRPOPlugin
from tests.checks.test_ranges import NOT_WHOLE, WRONG
from tests.e2e.conftest import axolotl, shipped_config, write

# Keys of the typed config without a field: Axolotl's validators move or refuse `fsdp`, and NeMo Gym's plugin has the other.
NO_FIELDS = {"fsdp": object, "nemo_gym_enabled": bool}
SAMPLES = {typed.whole_of: ("8", 8), typed.number_of: ("1e-6", 1e-6), typed.flag_of: ("off", False)}


def types_of(model):
    return {name: field.annotation for name, field in model.model_fields.items()}


def test_keys_of_the_typed_config_are_read_as_axolotl_reads_them():
    schemas = {
        typed.Config: types_of(AxolotlInputConfig) | types_of(args.GRPOArgs) | NO_FIELDS,
        typed.ColumnsBlock: types_of(args.Columns),
        typed.FSDPBlock: types_of(FSDPConfig),
        typed.TRLArgsBlock: free_fields(),
        typed.TRLBlock: types_of(TRLConfig),
        typed.ToolLimitsBlock: types_of(args.GRPOToolLimits),
        typed.VLLMBlock: types_of(VllmConfig),
    }
    assert schemas.keys() == {typed.Config, *typed.Block.__subclasses__()}
    for block, types in schemas.items():
        for name, key in vars(block).items():
            if isinstance(key, typed.Key):
                assert name in types, f"{block.__name__}.{name}"
                if key.read in SAMPLES and name != "learning_rate":  # a text there, until the trainer
                    written, value = SAMPLES[key.read]
                    assert TypeAdapter(types[name]).validate_python(written) == value, name


UPSTREAM = {
    "trl.temperature": logits_process.TemperatureLogitsWarper,
    "trl.top_p": logits_process.TopPLogitsWarper,
    "trl.min_p": logits_process.MinPLogitsWarper,
    "trl.repetition_penalty": logits_process.RepetitionPenaltyLogitsProcessor,
    "logging_steps": lambda value: TrainingArguments("out", logging_steps=value, use_cpu=True),
    "warmup_steps": lambda value: TrainingArguments("out", warmup_steps=value, use_cpu=True),
}


@pytest.mark.parametrize("key", UPSTREAM)
def test_allows_no_value_that_upstream_refuses(key):
    for value in (-1.0, 0.0, 0.5, 1.0, 2.0):
        if RANGES[key].has(value):
            UPSTREAM[key](value)


def configs_with(wrong):
    """Yield the quickstart with wrong values, one per key, until each value was in one. Yield their keys, too."""
    left = list(wrong)
    while left:
        values = dict(reversed(left))  # the first value of each key
        left = [(key, value) for key, value in left if values.get(key) is not value]
        config = shipped_config(output_dir="out")
        for key, value in values.items():
            outer, _, inner = key.partition(".")
            config[outer] = {**config.get(outer, {}), inner: value} if inner else value
        yield config, values


def test_check_and_train_report_each_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = [(key, value) for key, value in WRONG if not key.startswith("vllm.") and not isinstance(value, str)]
    for config, values in configs_with(wrong):
        checked = check(str(write(tmp_path, config)), machine_of(0, None, None))
        places = [finding.where for finding in checked.findings if finding.code == "out-of-range"]
        assert sorted(places) == sorted(values), checked.findings
        with pytest.raises(SystemExit) as ended:
            GRPOPlugin().register(DictDefault(config))
        places = [finding.where for finding in ended.value.__cause__.findings if finding.code == "out-of-range"]
        assert sorted(places) == sorted(values)


def test_check_names_each_key_that_is_no_whole_number_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for config, values in configs_with(NOT_WHOLE):
        checked = check(str(write(tmp_path, config)), machine_of(0, None, None))
        places = [finding.where for finding in checked.findings if finding.level == "error"]
        assert sorted(places) == sorted(f"{key} ({value!r})" for key, value in values.items()), checked.findings


def test_the_command_line_names_the_key(tmp_path):
    file = write(tmp_path, shipped_config(output_dir="out", trl__top_k=-5))
    for command in (("grpo", "check"), ("train",)):
        lines = axolotl(*command, file, cwd=tmp_path, returncode=1).splitlines()
        assert len([line for line in lines if "trl.top_k: -5 is out of range" in line]) == 1

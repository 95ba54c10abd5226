"""What the plugin does when Axolotl registers it, in this process."""

import copy
import sys

import pytest

from tests.e2e.conftest import shipped_config


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Register the plugin for a raw config, in an empty folder, and return the config."""
    from axolotl.utils.dict import DictDefault

    from axolotl_grpo_plugin import GRPOPlugin

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(raw):
        cfg = DictDefault(copy.deepcopy(raw))
        GRPOPlugin().register(cfg)
        return cfg

    return run


@pytest.mark.parametrize("rl", [None, "dpo", "kto"])
def test_does_nothing_outside_grpo(register, rl, tmp_path):
    from axolotl_grpo_plugin import GRPOPlugin

    raw = {"rl": rl, "base_model": "./nowhere", "grpo_no_such_key": 1, "datasets": [{"path": "x"}]}
    path = [*sys.path]
    cfg = register(raw)
    assert cfg.to_dict() == raw and sys.path == path
    plugin = GRPOPlugin()
    assert plugin.load_datasets(cfg) is None
    assert plugin.add_callbacks_post_trainer(cfg, None) == []
    assert keeps_the_reference_model(plugin, cfg)


def keeps_the_reference_model(plugin, cfg):
    """Return whether Axolotl loads its reference model in a run."""
    from axolotl import train

    load = train.setup_reference_model
    plugin.pre_model_load(cfg)
    kept = train.setup_reference_model is load
    run = plugin._run
    plugin.post_train_unload(cfg)
    assert train.setup_reference_model is load, run  # which has not been deleted
    return kept


@pytest.mark.parametrize("rl", ["grpo", "gdpo"])
def test_only_a_run_that_names_it_loads_no_reference_model(register, rl):
    from axolotl_grpo_plugin import GRPOPlugin

    plugin = GRPOPlugin()
    cfg = register(shipped_config(rl=rl))
    plugin.register(cfg)
    assert not keeps_the_reference_model(plugin, cfg)
    cfg["plugins"] = []
    assert keeps_the_reference_model(plugin, cfg)


@pytest.mark.parametrize("rl", ["grpo", "gdpo"])
def test_only_checks_its_keys_unless_the_config_names_it(register, rl, tmp_path):
    raw = {"rl": rl, "base_model": "./nowhere", "trl": {"reward_funcs": ["no.such"]}}
    assert register(raw).to_dict() == raw
    assert sys.path[0] == str(tmp_path)
    with pytest.raises(SystemExit, match="grpo_held_out_row: no such key"):
        register({**raw, "grpo_held_out_row": 1})


@pytest.mark.parametrize("rl", ["grpo", "gdpo"])
def test_checks_a_config_that_names_it(register, rl):
    cfg = register(shipped_config(rl=rl))
    assert not cfg["base_model"].startswith("pkg://")
    assert cfg["grpo_max_prompt_length"] == 128 - 32
    with pytest.raises(SystemExit, match="no such folder"):
        register(shipped_config(rl=rl, base_model="./nowhere"))


def test_prompt_limit_comes_from_the_yaml(register):
    assert "grpo_max_prompt_length" not in register(shipped_config(sequence_len=None))
    assert register(shipped_config(grpo_max_prompt_length=50))["grpo_max_prompt_length"] == 50
    assert register(shipped_config(vllm={"max_model_len": 100}))["grpo_max_prompt_length"] == 68
    with pytest.raises(SystemExit, match="sequence_len: 32 leaves no token for a prompt"):
        register(shipped_config(sequence_len=32))


def test_refuses_another_path_to_the_plugin(register):
    with pytest.raises(SystemExit, match=r"Write axolotl_grpo_plugin\.GRPOPlugin"):
        register(shipped_config(plugins=["axolotl_grpo_plugin.plugin.GRPOPlugin"]))


@pytest.mark.parametrize(
    "odd",
    [
        {"trl": {"reward_funcs": [None, 3]}},
        {"datasets": None},
        {"grpo_examples": "x"},
        {"vllm": None, 5: "a key that is a number"},
    ],
)
def test_leaves_values_of_another_type_to_axolotls_validation(register, odd):
    register({**shipped_config(), **odd})

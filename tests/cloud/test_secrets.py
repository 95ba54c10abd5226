import modal
import pytest
from axolotl.utils.dict import DictDefault

from axolotl_grpo_plugin.cloud import secrets
from axolotl_grpo_plugin.cloud.settings import read

JUDGE = "axolotl_grpo_plugin.rewards.judge.judge"
ALL = ["HF_TOKEN", "WANDB_API_KEY"]


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """No key in the environment, and no login."""
    for name in (*ALL, *secrets.OPT_OUTS, "OPENAI_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(secrets, "get_token", lambda: None)


def found(cloud=(), **keys):
    cfg = DictDefault({"axolotl_config_path": "a.yaml", **keys})
    settings = read({"secrets": ALL, **dict(cloud)}, "cloud.yaml")
    return [(each.level, each.where.removeprefix("a.yaml: ")) for each in secrets.check_secrets(cfg, settings)]  # fmt: skip


WANDB = ("error", "wandb_project (p)")


@pytest.mark.parametrize(
    ("cloud", "keys", "findings"),
    [
        ({}, {}, []),
        ({}, {"wandb_project": "p"}, [WANDB]),
        ({}, {"wandb_project": "p", "wandb_mode": "offline"}, []),
        ({}, {"wandb_project": "p", "wandb_mode": "disabled"}, []),
        ({}, {"wandb_project": "p", "wandb_mode": "online"}, [WANDB]),
        ({}, {"wandb_project": "p", "use_wandb": False}, []),
        ({"env": {"WANDB_MODE": "offline"}}, {"wandb_project": "p"}, []),
        ({"secrets": [{"modal": "mine"}]}, {"wandb_project": "p"}, [("warning", WANDB[1])]),
        ({}, {"hub_model_id": "me/model"}, [("error", "hub_model_id")]),
        ({}, {"hf_use_auth_token": True}, [("error", "hf_use_auth_token")]),
        ({"secrets": [{"modal": "mine"}]}, {"hub_model_id": "a/b"}, [("warning", "hub_model_id")]),
    ],
)
def test_a_key_that_is_needed_is_named(cloud, keys, findings):
    assert found(cloud, **keys) == findings


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"comet_api_key": "abc"}, "comet_api_key"),
        ({"trl": {"hub_token": "abc"}}, "trl.hub_token"),
        ({"datasets": [{"path": "https://me:pw@host/a.jsonl"}]}, "datasets[0].path"),
        ({"wandb_name": "hf_" + "a1B2" * 8 + "cd"}, "wandb_name"),
    ],
)
def test_a_key_in_a_config_is_an_error_that_does_not_repeat_it(keys, where):
    assert found(**keys) == [("error", where)]


def test_what_is_set_is_enough(monkeypatch):
    for name in ALL:
        monkeypatch.setenv(name, "value")
    keys = {"wandb_project": "p", "hub_model_id": "me/model"}
    assert found(**keys) == []
    assert len(found({"secrets": []}, **keys)) == 2  # set, and not named in cloud.yaml


def test_wandb_offline_here_is_not_offline_there(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert found(wandb_project="p") == [WANDB]
    assert found({"env": {"WANDB_MODE": None}}, wandb_project="p") == []  # sent along


def test_a_login_here_is_none_there(monkeypatch):
    monkeypatch.setattr(secrets, "get_token", lambda: "hf_login")
    assert found() == [("warning", "base_model")]
    monkeypatch.setenv("HF_TOKEN", "hf_login")
    assert found() == []


@pytest.mark.parametrize(
    ("arguments", "name"), [({}, "OPENAI_API_KEY"), ({"api_key_env": "MY_KEY"}, "MY_KEY")]
)
def test_the_judges_key(monkeypatch, arguments, name):
    keys = {"trl": {"reward_funcs": [JUDGE]}, "grpo_reward_args": {JUDGE: arguments}}
    assert found(**keys) == []
    monkeypatch.setenv(name, "value")
    (finding,) = found(**keys)
    assert finding[0] == "warning"
    assert found({"secrets": [*ALL, name]}, **keys) == []


def test_values_are_handed_to_modal_and_names_to_the_user(monkeypatch, modal_service):
    import modal

    monkeypatch.setenv("HF_TOKEN", "hf_value")
    monkeypatch.setenv("WANDB_API_KEY", "")
    modal_service.stored["mine"] = {"OTHER": "o"}
    cloud = {"secrets": [*ALL, {"modal": "mine"}], "env": {"LEVEL": "3"}}
    settings = read(cloud, "cloud.yaml")
    assert secrets.described(settings) == "HF_TOKEN, mine on Modal; not set here: WANDB_API_KEY"
    app = modal.App("test", include_source=False)
    app.function(secrets=secrets.secrets_of(settings))(nothing)
    with app.run():
        pass
    assert modal_service.secrets() == {
        "": {"HF_TOKEN": "hf_value", "LEVEL": "3"},
        "mine": {"OTHER": "o"},
    }
    commands = [line for at in modal_service.image_layers() for line in at.dockerfile_commands]
    assert not any("LEVEL" in line or "hf_value" in line for line in commands)


def nothing():
    """What runs there is not asked here."""


def test_no_secret_at_all():
    settings = read({"secrets": []}, "cloud.yaml")
    assert secrets.described(settings) == "none"
    assert secrets.secrets_of(settings) == []


def test_no_telemetry_here_is_none_there(monkeypatch, modal_service):
    """The file has the last word."""
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    settings = read({"env": {"DO_NOT_TRACK": "0"}, "secrets": []}, "cloud.yaml")
    app = modal.App("test")
    app.function(secrets=secrets.secrets_of(settings), include_source=False)(found)
    with app.run():
        sent = modal_service.secrets()
    assert sent == {"": {"AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "0"}}


def test_both_keys_are_taken_where_the_file_says_nothing(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "value")
    assert secrets.taken(read({}, "cloud.yaml")) == {"HF_TOKEN": "value"}
    assert secrets.taken(read({"secrets": []}, "cloud.yaml")) == {}

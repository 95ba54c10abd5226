import tomllib
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.cloud import settings
from axolotl_grpo_plugin.cloud.gpus import cost
from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.paths import shipped

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HF_TOKEN", "WANDB_API_KEY", "MINE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def wrong(config):
    """The lines of what is wrong."""
    with pytest.raises(ConfigError) as raised:
        read(config, "my.yaml")
    lines = str(raised.value).splitlines()
    assert len(lines) == len(raised.value.findings)
    return [line.removeprefix("axolotl-grpo-plugin: ") for line in lines]


def test_the_shipped_file():
    file = shipped("cloud.yaml")
    made = read(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    assert (made.provider, made.gpu.modal, made.timeout) == ("grpo-modal", "L40S:2", 21600)
    assert made.mounts == {
        "/workspace/outputs": "axolotl-grpo-outputs",
        "/cache": "axolotl-grpo-cache",
    }
    assert not made.detach and not made.dry_run
    assert made.secrets == ["HF_TOKEN", "WANDB_API_KEY"]
    asked = cost(made.gpu, made.cpu, made.memory, made.timeout)
    assert "at most $28.75 for" in asked and "$28.75 for 6 hours" in file.read_text()


def test_every_key_stands_in_the_shipped_file_and_its_comments_are_right():
    text = shipped("cloud.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    for key in Settings.model_fields:
        assert [line for line in lines if line.removeprefix("# ").startswith(f"{key}:")], key
    set_too = [
        line.replace("# ", "", 1)
        for line in lines
        if line.startswith(("# image", "# apt_", "# pip_", "# ignore", "# max_", "# d"))
    ]
    made = read(yaml.safe_load("\n".join([*set_too, "provider: grpo-modal"])), "cloud.yaml")
    assert made.detach and made.dry_run
    assert (made.image, made.max_size) == (settings.IMAGE, Settings().max_size)
    assert made.apt_install and made.pip_install and made.ignore


def test_everything_at_once_a_line_each():
    config = {
        "gpu": "L40",
        "cpu": "8",
        "memory": float("inf"),
        "timeout": "6h",
        "image": 5,
        "apt_install": "git",
        "pip_install": [3],
        "max_size": 0,
        "detach": "no",
        "dry_run": 1,
        "gpus": 2,
    }
    lines = wrong(config)
    assert [line.split(" ")[1].rstrip(":") for line in lines] == [
        "gpus",
        "gpu",
        "cpu",
        "memory",
        "timeout",
        "image",
        "apt_install",
        "pip_install[0]",
        "max_size",
        "detach",
        "dry_run",
    ]
    assert lines[0] == "my.yaml: gpus: no such key. Did you mean 'gpu'."
    assert lines[4] == (
        "my.yaml: timeout (6h): should be a valid integer. Write seconds, 1 to 86400: 6 hours are 21600."
    )
    assert lines[9] == "my.yaml: detach (no): should be a valid boolean. Write true or false."
    assert not [line for line in lines if "pydantic" in line or "http" in line]


@pytest.mark.parametrize("timeout", [0, 86401, 3.5, True])
def test_timeouts_that_modal_refuses(timeout):
    (line,) = wrong({"timeout": timeout})
    assert line.startswith(f"my.yaml: timeout ({timeout})") and "seconds, 1 to 86400" in line


def test_a_key_without_a_value_is_not_set():
    assert read({"env": None, "volumes": None, "gpu": None, "cpu": None}, "c") == Settings()


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("docker_tag", "Write image: "),
        ("branch", "pip_install: git+"),
        ("dockerfile_commands", "apt_install and pip_install"),
        ("timeout_preprocess", "timeout holds"),
        ("memory_preprocess", "memory holds"),
        ("spawn", "detach: true"),
        ("image_build", "image: REPOSITORY:TAG"),
        ("volume", "Did you mean 'volumes'"),
        (5, "There are: "),
    ],
)
def test_keys_that_are_not_ours(key, fix):
    (line,) = wrong({key: "hf_secret"})
    assert line.startswith(f"my.yaml: {key}: no such key. ") and fix in line
    assert "hf_secret" not in line


def test_the_keys_of_a_gpu_are_one():
    assert read({"gpu": "l40s", "gpu_count": 2}, "c").gpu.modal == "L40S:2"
    assert read({"gpu": "X900", "gpu_memory": 512}, "c").gpu.gb == 512
    assert len(wrong({"gpu": "L40S", "gpu_count": "two"})) == 1
    assert len(wrong({"gpu": 5, "gpu_memory": "much"})) == 1


@pytest.mark.parametrize(
    ("mount", "there"),
    [
        ("./outputs", "/workspace/outputs"),
        ("outputs/", "/workspace/outputs"),
        ("./a/./b", "/workspace/a/b"),
        ("/workspace/outputs", "/workspace/outputs"),
        ("/cache", "/cache"),
        ("/root/data", "/root/data"),
    ],
)
def test_mounts(mount, there):
    assert read({"volumes": [{"name": "v", "mount": mount}]}, "c").mounts == {there: "v"}


@pytest.mark.parametrize(
    "mount",
    "/ /root /tmp /usr/x /etc . ./ /workspace /workspace/ /parcel /parcel/x ../x a/../b ~/x a\\b //x".split(),
)
def test_mounts_that_cannot_be(mount):
    (line,) = wrong({"volumes": [{"name": "v", "mount": mount}]})
    assert line.startswith(f"my.yaml: volumes[0].mount ({mount}): ")


@pytest.mark.parametrize(
    ("volumes", "said"),
    [
        ([("a", "x"), ("b", "./x")], "volumes (/workspace/x, /workspace/x): one lies in the other"),
        ([("a", "x"), ("b", "x/y")], "one lies in the other"),
        ([("a", "x/y"), ("b", "x")], "one lies in the other"),
        ([("a", "x"), ("a", "y")], "volumes (a): mounted twice"),
        ([("a b", "x")], "volumes[0].name (a b): not a name that a Volume of Modal's can have"),
        ([("", "x")], "not a name that a Volume"),
        ([("x" * 65, "x")], "not a name that a Volume"),
        ([("ok", "x"), (5, "y")], "volumes[1].name (5): should be a valid string"),
    ],
)
def test_volumes_that_cannot_be(volumes, said):
    (line,) = wrong({"volumes": [{"name": name, "mount": mount} for name, mount in volumes]})
    assert said in line


def test_volumes_beside_one_another():
    volumes = [{"name": "a", "mount": "x"}, {"name": "b", "mount": "xy"}]
    assert len(read({"volumes": volumes}, "c").mounts) == 2


def test_a_volume_of_another_form():
    lines = wrong({"volumes": ["outputs", {"nam": "a", "mount": "x"}]})
    assert lines == [
        "my.yaml: volumes[0] (outputs): should be a valid dictionary. "
        "Write a list, each entry with a name and a mount.",
        "my.yaml: volumes[1].name: is missing. Write a list, each entry with a name and a mount.",
        "my.yaml: volumes[1].nam: no such key. Did you mean 'name'.",
    ]


def test_secrets_are_names(monkeypatch):
    monkeypatch.setenv("MINE", "sesame")
    made = read({"secrets": ["HF_TOKEN", "MINE", {"modal": "stored"}]}, "c")
    assert made.secrets == ["HF_TOKEN", "MINE", ("stored",)]
    assert "sesame" not in repr(made)


def test_a_secret_that_is_not_set(monkeypatch):
    (line,) = wrong({"secrets": ["WANDB_API_KEY", "MINE"]})
    assert line == (
        "my.yaml: secrets[1] (MINE): not set in your environment. `export MINE=…`, or remove it."
    )
    monkeypatch.setenv("MINE", "")
    assert wrong({"secrets": ["MINE"]}) == [line.replace("[1]", "[0]")]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"secrets": [{"HF_TOKEN": "hf_sesame"}]}, "secrets[0] (HF_TOKEN): a value in a file"),
        ({"secrets": {"HF_TOKEN": "hf_sesame"}}, "secrets: should be a valid list"),
        ({"secrets": "hf_sesame"}, "secrets: should be a valid list"),
        ({"secrets": ["hf_sesame"]}, "secrets[0]: neither"),
        ({"secrets": [{"modal": "x", "KEY": "hf_sesame"}]}, "secrets[0] (KEY): a value"),
        ({"secrets": [{"hf_sesame": 1}]}, "secrets[0]: a value"),
        ({"secrets": [{"modal": "hf_sesame!"}]}, "secrets[0]: not a name that a Secret"),
        ({"env": {"HF_TOKEN": "hf_sesame"}}, "env (HF_TOKEN): a secret by its name"),
        ({"env": [{"MY_API_KEY": "hf_sesame"}]}, "env (MY_API_KEY): a secret by its name"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "hf_sesame"}}, "a secret by its name"),
        ({"env": {"OPENAI_API_KEY": None}}, "env (OPENAI_API_KEY): a secret by its name"),
        ({"env": {"DB_PASSWORD2": "hf_sesame"}}, "a secret by its name"),
        ({"env": ["hf_sesame"]}, "env: not a variable's name"),
        ({"env": {"A": ["hf_sesame"]}}, "env (A): not a string"),
        ({"env": "hf_sesame"}, "env: not a mapping"),
        ({"env": {"DB": "postgres://me:sesame@host/db"}}, "env (DB): a secret by its value"),
        ({"pip_install": ["git+https://sesame@github.com/me/x"]}, "pip_install[0]: a key or"),
        (
            {"pip_install": ["--index-url", "https://me:sesame@h/simple"]},
            "pip_install[1]: a key or",
        ),
        ({"pip_install": "git+https://sesame@github.com/me/x"}, "pip_install: should be"),
    ],
)
def test_no_message_repeats_a_secret(config, named, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hf_sesame")
    (line,) = wrong(config)
    assert named in line
    assert "sesame" not in line


def test_variables(monkeypatch):
    monkeypatch.setenv("MINE", "here")
    given = {"A": "1", "B": 2, "MINE": None, "TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "9"}
    there = {**given, "B": "2", "MINE": "here"}
    assert read({"env": given}, "c").env == there
    listed = ["MINE", *({name: value} for name, value in given.items() if value)]
    assert read({"env": listed}, "c").env == there
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pw@proxy")  # it is not in the file
    assert read({"env": ["HTTPS_PROXY"]}, "c").env == {"HTTPS_PROXY": "http://me:pw@proxy"}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"MINE": None}, "env (MINE): not set in your environment. `export MINE=…`, or give it"),
        ({"A": True}, 'env (A): not a string. Put it in quotes: A: "…"'),
        ({"A": 1.5}, "env (A): not a string"),
        ({"a-b": "1"}, "env: not a variable's name"),
        ({5: "1"}, "env: not a variable's name"),
    ],
)
def test_variables_that_cannot_be(env, said):
    (line,) = wrong({"env": env})
    assert said in line


def test_the_base_has_what_kernels_are_compiled_with():
    assert "-devel-" in settings.IMAGE and settings.IMAGE.startswith("nvidia/cuda:13.0.")


def test_the_wheel_has_all_that_is_shipped_where_it_is_looked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {
        name: f"axolotl_grpo_plugin/pack/{name}" for name in ("cloud.yaml", "configs", "rewards")
    }
    assert all((ROOT / name).exists() for name in included)

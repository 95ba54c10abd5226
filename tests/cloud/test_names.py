import os

import pytest

from axolotl_grpo_plugin.cloud.names import Names
from axolotl_grpo_plugin.findings import ConfigError

OUTPUTS = {"/workspace/outputs": "runs", "/cache": "cache"}


def file(path, ignore=()):
    return Names(ignore, OUTPUTS).file(path, f"/nowhere/{path}")


def folder(path, ignore=()):
    return Names(ignore, OUTPUTS).folder(path, f"/nowhere/{path}")


@pytest.mark.parametrize(
    "path",
    """
    .env .env.local prod.env .envrc deep/in/it/.env cert.pem server.KEY id_rsa id_rsa.pub ID_ED25519
    .netrc .modal.toml .npmrc .pypirc .git-credentials gcp/service_account-1.json credentials.json
    hf/token hf/stored_tokens kaggle.json .bash_history secrets.toml
    .env-prod terraform.tfstate prod.auto.tfvars .databrickscfg kubeconfig .dockerconfigjson
    """.split(),
)
def test_secrets_stay_and_no_pattern_brings_them_back(path):
    for ignore in ([], ["!**/*"], [f"!{path}"]):
        left = file(path, ignore)
        assert left.why.endswith("is taken for a secret, and never sent")
        assert "secrets" in left.fix


@pytest.mark.parametrize("path", ".ssh .aws .huggingface deep/.kube .docker .oci .secret".split())
def test_folders_of_logins_stay(path):
    assert folder(path, [f"!{path}"]).why.endswith("is taken for a secret, and never sent")


@pytest.mark.parametrize(
    "path", ".git a/.git __pycache__ rewards/__pycache__ node_modules .venv .mypy_cache".split()
)
def test_what_tools_make_stays(path):
    assert folder(path, [f"!{path}"]).why == f"{os.path.basename(path)} is never sent"


def test_files_that_tools_make_stay():
    for path, name in (("rewards/mine.pyc", "*.pyc"), ("a/.DS_Store", ".ds_store"), (".git",) * 2):
        assert file(path, ["!**/*"]).why == f"{name} is never sent"


def test_the_usual_folders_stay_unless_a_pattern_brings_them_back():
    for path in (*"build dist wandb my.egg-info last_run_prepared .cache".split(), "a/secrets"):
        left = folder(path)
        assert left.fix == f'`ignore: ["!{path}"]` brings it back'
        assert folder(path, [f"!{path}"]) is None
        assert file(f"{path}/x.json", [f"!{path}"]) is None


@pytest.mark.parametrize(
    "path",
    """
    keys.jsonl data/tokens.jsonl tokenizer.json token.py secrets.py environment.yaml env.py monkey.txt
    .gitignore .python-version data/train.jsonl my.environment pyproject.toml configs/build.yaml
    """.split(),
)
def test_files_that_only_look_like_them_are_sent(path):
    assert file(path) is None


@pytest.mark.parametrize(
    "path", "env venv envs keys tokens rewards/build src/outputs src/wandb data/dist".split()
)
def test_folders_that_only_look_like_them_are_sent(path):
    assert folder(path) is None


def test_an_environment_is_known_by_what_is_in_it(tmp_path):
    for name, mark in (("env", "pyvenv.cfg"), ("my-venv", "pyvenv.cfg"), ("conda", "conda-meta")):
        (tmp_path / name).mkdir()
        assert Names([], {}).folder(name, str(tmp_path / name)) is None
        (tmp_path / name / mark).touch()
        left = Names([f"!{name}"], {}).folder(name, str(tmp_path / name))
        assert left.why == "a Python environment is never sent"


def test_what_is_on_a_volume_is_not_sent_over_it():
    assert folder("outputs", ["!outputs"]).why == "the Volume runs is mounted there"
    assert folder("src/outputs") is None
    names = Names([], {"/workspace/my/runs": "mine"})
    assert names.folder("my/runs", "/nowhere").why == "the Volume mine is mounted there"
    assert names.folder("my", "/nowhere") is None


def test_patterns_of_ones_own():
    assert file("data/big.jsonl", ["data/*.jsonl"]) == (
        "the pattern data/*.jsonl leaves it out",
        "Remove it from `ignore` in cloud.yaml",
    )
    assert folder("data", ["./data/"]).why == "the pattern data leaves it out"
    assert file("data/small.jsonl", ["data", "!./data/small.jsonl"]) is None
    assert file("data/big.jsonl", ["data", "!./data/small.jsonl"])
    mine = file("build/big.bin", ["!build", "build/*.bin"])
    assert mine.why == "the pattern build/*.bin leaves it out"
    # The folder is not left out whole: something in it may be sent.
    assert folder("data", ["data", "!data/small.jsonl"]) is None


@pytest.mark.parametrize("pattern", ["", "!", " / ", "[z-a]", "![z-a]", "data/[a"])
def test_what_is_no_pattern_is_named(pattern):
    with pytest.raises(ConfigError) as raised:
        Names(["fine", pattern], {})
    assert f"cloud.yaml: ignore ({pattern!r})" in str(raised.value)


def test_a_link_is_its_target(tmp_path):
    (tmp_path / ".ssh").mkdir()
    for target in (".ssh/config", "server.pem", "notes.txt"):
        (tmp_path / target).touch()
        (tmp_path / "link.txt").unlink(missing_ok=True)
        (tmp_path / "link.txt").symlink_to(tmp_path / target)
        left = Names([], {}).file("link.txt", str(tmp_path / "link.txt"))
        assert bool(left) is (target != "notes.txt")

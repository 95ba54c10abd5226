"""What is sent of a working folder, and why the rest is not."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from modal.mount import _MountDir

from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.findings import ConfigError

OUTPUTS = {"/workspace/outputs": "runs"}


def grow(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    return folder


def packed(folder, *ignore):
    """Check that Modal's own walk sends the listed files, and return the list."""
    made = pack(folder, ignore, OUTPUTS)
    entry = _MountDir(folder, Path("/upload"), made.ignore, True)
    sent = {str(remote.relative_to("/upload")) for _, remote in entry.get_files_to_upload()}
    assert sent == set(made.sizes)
    return made


@pytest.mark.parametrize(
    "path",
    """
    .env .env.local prod.env deep/in/it/.env cert.pem server.KEY id_rsa ID_ED25519 .netrc .npmrc
    .modal.toml .git-credentials gcp/service_account-1.json credentials.json hf/token my_token
    HF_TOKEN.txt token.json secret.yaml secrets.toml passwords.txt creds.json openai_api_key apikey.txt
    kaggle.json .bash_history prod.auto.tfvars .ssh/config .aws/x .huggingface/x
    .git/config a/__pycache__/x.pyc .venv/lib/x node_modules/x .mypy_cache/x
    """.split(),
)
def test_credentials_and_tool_files_are_never_sent(tmp_path, path):
    made = packed(grow(tmp_path, path, "train.py"), "!**/*", f"!{path}")
    assert set(made.sizes) == {"train.py"}
    assert "credential or a tool" in made.why_not(path).why


@pytest.mark.parametrize(
    "path",
    """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json token.py secrets.py
    answer_key.json keys.jsonl passwords.jsonl env/rewards.py données/ü.jsonl [odd]*?.txt a/.gitkeep
    """.split(),
)
def test_other_names_are_sent(tmp_path, path):
    assert path in packed(grow(tmp_path, path)).sizes


@pytest.mark.parametrize(
    ("git", "docker", "ignore", "kept"),
    [
        ("", "", [], {"a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt"}),
        ("*.csv\n# !b.txt\n\n", "", [], {"data/b.txt", "x/data/c.txt"}),
        ("data/\n", "", [], {"a.csv"}),
        ("/data\n", "", [], {"a.csv", "x/data/c.txt"}),
        ("", "*.csv\ndata\n", [], {"x/data/c.txt"}),
        ("data/\n!data/b.txt\n", "", [], {"a.csv"}),
        ("data\n", "", ["!data/b.txt"], {"a.csv", "data/b.txt"}),
        ("", "", ["x", "./data/*.csv"], {"a.csv", "data/b.txt"}),
    ],
)
def test_ignore_files_and_patterns(tmp_path, git, docker, ignore, kept):
    grow(tmp_path, "a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt", "outputs/m", "build/x")
    (tmp_path / ".gitignore").write_text(git)
    (tmp_path / ".dockerignore").write_text(docker)
    kept = kept | {"data/b.txt"} if "!data/b.txt" in git else kept
    made = packed(tmp_path, *ignore)
    assert set(made.sizes) - {".gitignore", ".dockerignore"} == kept
    assert made.why_not("build").fix == 'Add "!build" to ignore in cloud.yaml'
    assert (
        "the Volume runs is mounted there"
        in pack(tmp_path, ["!outputs"], OUTPUTS).why_not("outputs/m").why
    )


def test_python_environments_and_links_that_lead_outside_are_not_sent(tmp_path):
    outside = grow(tmp_path / "outside", "train.jsonl", "folder/x.txt")
    folder = grow(tmp_path / "work", "real/y.txt", ".env", "mine/pyvenv.cfg", "mine/x.py")
    for name, target in {
        "inside.txt": folder / "real" / "y.txt",
        "outside.jsonl": outside / "train.jsonl",
        "env.txt": folder / ".env",
        "models": outside / "folder",
        "broken.txt": folder / "nowhere",
    }.items():
        (folder / name).symlink_to(target)
    made = packed(folder)
    assert set(made.sizes) == {"real/y.txt", "inside.txt"}
    (warning,) = made.check(1)
    assert warning.level == "warning" and "'outside.jsonl' (it is a link that leads" in warning.what
    assert {each for each, why in made.skipped.items() if why.odd} == {
        *("outside.jsonl", "env.txt", "models", "broken.txt")
    }


def test_files_that_cannot_be_read_are_named(monkeypatch):
    with TemporaryDirectory() as made_here, socket.socket(socket.AF_UNIX) as server:
        folder = grow(Path(made_here), "here.txt", "closed.txt")
        os.mkfifo(folder / "pipe")
        server.bind(str(folder / "socket"))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).touch()
        access = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: "closed" not in path and access(path, mode)
        )
        made = packed(folder)
        assert set(made.sizes) == {"here.txt"}
        assert len(made.check(1)[0].what.split(", ")) == 4


def test_too_much_is_an_error_that_names_the_largest(tmp_path):
    grow(tmp_path, "small.txt", "data/a/big.bin", "data/b.bin")
    os.truncate(tmp_path / "data/a/big.bin", 600_000_000)
    made = packed(tmp_path)
    (finding,) = made.check(500)
    assert finding.level == "error"
    assert (
        finding.what == "600.0 MB would be sent, most of it in data/ (600.0 MB), small.txt (0.0 MB)"
    )
    assert made.check(601) == packed(tmp_path, "data").check(500) == []
    assert str(made) == "600.0 MB in 3 files, most of it in data/ (600.0 MB)"


def test_refuses_a_folder_that_holds_the_home_folder(tmp_path, monkeypatch):
    home = grow(tmp_path / "home", "me/project/train.py") / "me"
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent, Path("/")):
        with pytest.raises(ConfigError, match="it holds your home folder"):
            pack(folder, [], OUTPUTS)
    assert pack(home / "project", [], OUTPUTS).sizes

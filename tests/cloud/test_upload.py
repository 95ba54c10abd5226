"""Which files of the working folder are sent, and why the others are not."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from modal.mount import _MountDir

from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.findings import ConfigError
from tests.cloud.project import write

OUTPUTS = {"/workspace/outputs": "runs"}


def packed(folder, *ignore):
    """Check that Modal's own walk sends the listed files, and return the list."""
    upload = pack(folder, ignore, OUTPUTS)
    entry = _MountDir(folder, Path("/upload"), upload.ignore, True)
    sent = {str(remote.relative_to("/upload")) for _, remote in entry.get_files_to_upload()}
    assert sent == set(upload.sizes)
    return upload


def test_credentials_and_tool_files_are_never_sent(tmp_path):
    never = """
    .env .env.local prod.env deep/in/it/.env cert.pem server.KEY id_rsa ID_ED25519 .netrc .npmrc
    .modal.toml .git-credentials gcp/service_account-1.json credentials.json hf/token my_token
    HF_TOKEN.txt token.json secret.yaml secrets.toml passwords.txt creds.json openai_api_key apikey.txt
    kaggle.json .bash_history prod.auto.tfvars .ssh/config .aws/x .huggingface/x
    .git/config a/__pycache__/x.pyc .venv/lib/x node_modules/x .mypy_cache/x
    """.split()
    sent = """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json token.py secrets.py
    answer_key.json keys.jsonl passwords.jsonl env/rewards.py données/ü.jsonl [odd]*?.txt a/.gitkeep
    """.split()
    upload = packed(write(tmp_path, *never, *sent), "!**/*", *(f"!{path}" for path in never))
    assert set(upload.sizes) == set(sent)
    assert all("its name is a credential's" in upload.why_not(path).why for path in never)


@pytest.mark.parametrize(
    ("git", "docker", "ignore", "sent"),
    [
        ("", "", [], {"a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt"}),
        ("*.csv\n# !b.txt\n\n", "", [], {"data/b.txt", "x/data/c.txt"}),
        ("data/\n", "", [], {"a.csv"}),
        ("/data\n", "", [], {"a.csv", "x/data/c.txt"}),
        ("", "*.csv\ndata\n", [], {"x/data/c.txt"}),
        ("data/\n!data/b.txt\n", "", [], {"a.csv", "data/b.txt"}),
        ("data\n", "", ["!data/b.txt"], {"a.csv", "data/b.txt"}),
        ("", "", ["x", "./data/*.csv"], {"a.csv", "data/b.txt"}),
    ],
)
def test_ignore_files_and_patterns(tmp_path, git, docker, ignore, sent):
    write(tmp_path, "a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt", "outputs/m", "build/x")
    write(tmp_path, ".gitignore", text=git)
    write(tmp_path, ".dockerignore", text=docker)
    upload = packed(tmp_path, *ignore)
    assert set(upload.sizes) - {".gitignore", ".dockerignore"} == sent
    assert upload.why_not("build").fix == 'Add "!build" to ignore in cloud.yaml'
    upload = packed(tmp_path, "!outputs")
    assert "the Volume runs is mounted there" in upload.why_not("outputs/m").why


def test_environments_links_and_special_files_are_not_sent(monkeypatch):
    with TemporaryDirectory() as root, socket.socket(socket.AF_UNIX) as server:
        outside = write(Path(root, "outside"), "train.jsonl", "folder/x.txt")
        folder = Path(root, "work")
        write(folder, "real/y.txt", "closed.txt", ".env", "mine/pyvenv.cfg", "mine/x.py")
        os.mkfifo(folder / "pipe")
        server.bind(str(folder / "socket"))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).touch()
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in path and access(path, mode))
        for name, target in {
            "inside.txt": folder / "real" / "y.txt",
            "outside.jsonl": outside / "train.jsonl",
            "env.txt": folder / ".env",
            "models": outside / "folder",
            "broken.txt": folder / "nowhere",
        }.items():
            (folder / name).symlink_to(target)
        upload = packed(folder)
        assert set(upload.sizes) == {"real/y.txt", "inside.txt"}
        reported = {path for path, skipped in upload.skipped.items() if skipped.odd}
        links = {"outside.jsonl", "env.txt", "models", "broken.txt"}
        assert reported == links | {"closed.txt", "pipe", "socket", "\udcff.txt"}
        (warning,) = upload.check(1)
        assert warning.level == "warning" and "'env.txt' (it is a link that leads" in warning.what


def test_too_large_upload_is_an_error_that_names_the_largest_folders(tmp_path):
    write(tmp_path, "small.txt", "data/a/big.bin", "data/b.bin")
    os.truncate(tmp_path / "data/a/big.bin", 600_000_000)
    upload = packed(tmp_path)
    (finding,) = upload.check(500)
    largest = "data/ (600.0 MB), small.txt (0.0 MB)"
    assert finding.what == f"600.0 MB would be sent, most of it in {largest}"
    assert finding.level == "error" and not [*upload.check(601), *packed(tmp_path, "data").check(1)]
    assert str(upload) == "600.0 MB in 3 files, most of it in data/ (600.0 MB)"


def test_folder_that_contains_the_home_folder_is_refused(tmp_path, monkeypatch):
    home = write(tmp_path / "home", "me/project/train.py") / "me"
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent, Path("/")):
        with pytest.raises(ConfigError, match="it contains your home folder"):
            pack(folder, [], OUTPUTS)
    assert pack(home / "project", [], OUTPUTS).sizes

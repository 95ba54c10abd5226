"""Which files of the working folder are sent, and why the others are not."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from modal.mount import _MountDir

from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.findings import FindingError
from tests.cloud.project import write

OUTPUTS = {"/workspace/outputs": "runs"}


def packed(folder, *ignore):
    """Check that Modal's own walk sends the listed files, and return the list."""
    upload = pack(folder, ignore, OUTPUTS)
    entry = _MountDir(folder, Path("/upload"), upload.ignore, True)
    sent = {str(remote.relative_to("/upload")) for _, remote in entry.get_files_to_upload()}
    assert sent == set(upload.sizes)
    return upload


HELD = """
    .env .env.local prod.env deep/in/it/.env cert.pem server.KEY id_rsa ID_ED25519 .netrc .npmrc .netrc.bak
    .modal.toml .git-credentials gcp/service_account-1.json credentials.json hf/token my_token
    HF_TOKEN.txt token.json secret.yaml secrets.toml passwords.txt creds.json openai_api_key apikey.txt
    kaggle.json .bash_history prod.auto.tfvars wandb_key.txt openai_key.txt key.txt key1.txt keys.json
    api_key.json tokens.txt tokens.json credentials.csv accessKeys.csv rootkey.csv APIKeys.txt secrets.sh env.sh
    gcp-key.json deploy_key ssh_key my_rsa server.key.bak id_rsa.pub.bak github_pat.txt auth.json
    oauth_client.json cookies.txt vault_pass.txt hftoken wandb.login secrets/openai.txt my-credentials/a/b.json
    passwords.xlsx secret_key.txt private_key.der jwt.txt app-adminsdk-1.json privateKey.txt ssh_host_rsa_key
    openaikey.txt hfkey AWSKEY.txt mykeys.json keyfile netrc my_ed25519 gcloud_sa.json db_pass.txt dbpass.txt
    openai.txt wandb_api.txt my-hf.txt OpenAI wandb2.txt gemini_api.txt
    """.split()
SENT = """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json tokenizer.model merges.txt
    tokenizer.py token.py tokens.py keys.py secrets.py secret_santa.py env.py auth.js env/rewards.py secrets/mine.py
    answer_key.json keys.jsonl passwords.jsonl tokens.parquet keyboard.json monkey.txt turkey.csv environment.yaml
    données/ü.jsonl [odd]*?.txt a/.gitkeep authors.txt sacred.txt pattern.txt
    hotkeys.json hockey.csv max_tokens.yaml token_counts.json answerKey.csv primary_keys.csv keys.sql compass.txt
    openai_prompts.txt wandb_config.yaml openai.csv prompts/mistral.txt awsome.txt api.txt
    """.split()
TOOLS = ".git/config a/__pycache__/x.pyc .venv/lib/x node_modules/x .mypy_cache/x .ssh/config .aws/x .huggingface/x"


def test_credentials_are_named_and_sent_only_by_their_exact_path(tmp_path):
    write(tmp_path, *HELD, *SENT)
    upload = packed(tmp_path, "!**/*", "!*key*")
    assert set(upload.sizes) == set(SENT) and set(upload.held) == set(HELD)
    assert upload.why_not("key.txt").fix == 'Use secrets. Add "!key.txt" to ignore in cloud.yaml to send it anyway'
    upload = packed(tmp_path, *(f"!{path}" for path in HELD))
    assert set(upload.sizes) == {*SENT, *HELD}


def test_ignored_credentials_are_not_named(tmp_path):
    write(tmp_path, ".env", "key.txt", "outputs/token.txt", "logs/token.txt")
    upload = packed(tmp_path, "*.txt", "logs")
    assert upload.held == [".env"] and upload.named().startswith(".env, named like credentials. ")


def test_files_of_tools_are_never_sent(tmp_path):
    write(tmp_path, *TOOLS.split(), "a.txt")
    upload = packed(tmp_path, "!**/*", *(f"!{path}" for path in TOOLS.split()))
    assert set(upload.sizes) == {"a.txt"}


@pytest.mark.parametrize(
    "git, docker, ignore, sent",
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
def test_ignore_files_and_patterns_decide_which_files_are_sent(tmp_path, git, docker, ignore, sent):
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
        links = {"outside.jsonl", "env.txt", "models", "broken.txt"}
        assert links | {"closed.txt", "pipe", "socket", "\udcff.txt"} <= set(upload.skipped)


def test_too_large_upload_is_an_error(tmp_path):
    write(tmp_path, "small.txt", "data/a/big.bin", "data/b.bin")
    os.truncate(tmp_path / "data/a/big.bin", 600_000_000)
    upload = packed(tmp_path)
    (finding,) = upload.check(500)
    assert finding.what == "600.0 MB would be sent"
    assert finding.level == "error" and not [*upload.check(601), *packed(tmp_path, "data").check(1)]
    assert str(upload) == "600.0 MB in 3 files"


def test_folder_that_contains_the_home_folder_is_refused(tmp_path, monkeypatch):
    home = write(tmp_path / "home", "me/project/train.py") / "me"
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent, Path("/")):
        with pytest.raises(FindingError, match="it contains your home folder"):
            pack(folder, [], OUTPUTS)
    assert pack(home / "project", [], OUTPUTS).sizes

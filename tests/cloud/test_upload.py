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


CREDENTIALS = """
    gcp/service_account-1.json credentials.json HF_TOKEN.txt hf-token.txt token.json secret.yaml secrets.toml passwords.txt
    creds.json openai_api_key.txt apikey.txt wandb_key.txt key.txt keys.json API_KEY.JSON tokens.txt accessKeys.csv
    gcp-key.json passwd.txt my-credentials.json auth.json hf_auth.json oauth.json kaggle.json
    hf_tokens.txt access_tokens.json secrets/prod.yaml keys/openai.txt prod_env.json
    """.split()
OTHER_KINDS = """
    cert.pem server.KEY id_rsa hf/token netrc prod.tfvars keyfile my_ed25519 a.pkcs12 secrets.sh a.bin a.so wallet.dat
    """.split()
HIDDEN = """
    .env .env.local deep/in/it/.env .netrc .npmrc .modal.toml .git-credentials .bash_history .git/config .venv/lib/x.py
    .ssh/config .aws/x.json .huggingface/x.txt a/.hidden/x.py
    """.split()
SENT = """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json tokenizer.model merges.txt a.safetensors
    token.py tokens.py keys.py secrets.py env/rewards.py secrets/mine.py keys.jsonl passwords.jsonl tokens.parquet
    environment.yaml données/ü.jsonl [odd]*?.txt authors.txt pattern.txt max_tokens.yaml token_counts.json
    """.split()


def test_only_known_kinds_without_names_of_credentials_are_sent(tmp_path):
    write(tmp_path, *CREDENTIALS, *OTHER_KINDS, *HIDDEN, *SENT)
    upload = packed(tmp_path)
    assert set(upload.sizes) == set(SENT)
    assert set(upload.held) == {*CREDENTIALS, *OTHER_KINDS}


def test_a_pattern_sends_other_kinds_and_an_exact_path_sends_a_credential(tmp_path):
    write(tmp_path, *CREDENTIALS, *OTHER_KINDS, *HIDDEN, *SENT)
    upload = packed(tmp_path, "!**/*")
    assert set(upload.sizes) == {*SENT, *OTHER_KINDS} and set(upload.held) == set(CREDENTIALS)
    upload = packed(tmp_path, *(f"!{path}" for path in (*CREDENTIALS, *HIDDEN)))
    assert set(upload.sizes) == {*SENT, *CREDENTIALS}


def test_ignored_files_are_not_named(tmp_path):
    write(tmp_path, "key.txt", "outputs/token.txt", "logs/token.txt", "a.bin")
    upload = packed(tmp_path, "logs")
    assert set(upload.held) == {"a.bin", "key.txt"}
    assert "in cloud.yaml" in upload.not_sent() and "logs" not in upload.not_sent()
    assert packed(tmp_path, "*.txt", "logs", "a.bin").not_sent() == ""


def test_the_largest_files_are_listed_first(tmp_path):
    write(tmp_path, *(f"{number}.txt" for number in range(25)))
    write(tmp_path, "large.csv", text="x" * 5_000)
    lines = list(packed(tmp_path).largest())
    assert lines[0] == "    0.005 MB  large.csv" and len(lines) == 21
    assert lines[-1] == "    0.000 MB  in 6 smaller files"


@pytest.mark.parametrize(
    "git, ignore, sent",
    [
        ("", [], {"a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt"}),
        ("*.csv\n# !b.txt\n\n", [], {"data/b.txt", "x/data/c.txt"}),
        ("data/\n", [], {"a.csv"}),
        ("/data\n", [], {"a.csv", "x/data/c.txt"}),
        ("data/\n!data/b.txt\n", [], {"a.csv", "data/b.txt"}),
        ("data\n", ["!data/b.txt"], {"a.csv", "data/b.txt"}),
        ("", ["x", "./data/*.csv"], {"a.csv", "data/b.txt"}),
    ],
)
def test_ignore_files_and_patterns_decide_which_files_are_sent(tmp_path, git, ignore, sent):
    write(tmp_path, "a.csv", "data/a.csv", "data/b.txt", "x/data/c.txt", "outputs/m.txt", "build/x.txt")
    write(tmp_path, ".gitignore", text=git)
    assert set(packed(tmp_path, *ignore).sizes) == sent


def test_files_below_a_mounted_volume_are_never_sent(tmp_path):
    write(tmp_path, "outputs/a.txt", "build/x.txt")
    assert set(packed(tmp_path, "!outputs", "!build").sizes) == {"build/x.txt"}


def test_environments_links_and_special_files_are_not_sent():
    with TemporaryDirectory() as root, socket.socket(socket.AF_UNIX) as server:
        outside = write(Path(root, "outside"), "train.jsonl", "folder/x.txt")
        folder = Path(root, "work")
        write(folder, "real/y.txt", ".env", "venv/lib/x.py", "mine/lib/site-packages/x/y.py")
        os.mkfifo(folder / "pipe.txt")
        server.bind(str(folder / "socket.txt"))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).touch()
        for name, target in {
            "inside.txt": folder / "real" / "y.txt",
            "outside.jsonl": outside / "train.jsonl",
            "env.txt": folder / ".env",
            "models": outside / "folder",
            "broken.txt": folder / "nowhere",
        }.items():
            (folder / name).symlink_to(target)
        assert set(packed(folder).sizes) == {"real/y.txt"}


def test_too_large_upload_is_an_error(tmp_path):
    write(tmp_path, "small.txt", "data/a/big.csv", "data/b.csv")
    os.truncate(tmp_path / "data/a/big.csv", 600_000_000)
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

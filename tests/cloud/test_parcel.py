import os
import socket
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modal import FilePatternMatcher
from modal.mount import _MountDir

from axolotl_grpo_plugin.cloud.names import USUAL
from axolotl_grpo_plugin.cloud.parcel import Parcel, pack
from axolotl_grpo_plugin.findings import ConfigError

OUTPUTS = {"/workspace/outputs": "runs"}


def grow(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def packed(folder, *ignore, max_mb=1):
    return pack(folder, ignore, max_mb, OUTPUTS)


def sent(folder, ignore):
    """What Modal's own client would send: path -> the file that it reads."""
    mount = _MountDir(folder, PurePosixPath("/parcel"), ignore, recursive=True)
    found = mount.get_files_to_upload()
    return {str(there.relative_to("/parcel")): here for here, there in found}


def test_what_the_most_of_it_is():
    sizes = {"models/a/model.safetensors": 326_000_000, "models/a/config.json": 700, "x.py": 9}
    assert str(Parcel(Path(), sizes)) == (
        "326 MB in 3 files (most of it models/a/model.safetensors, 326 MB)"
    )
    assert str(Parcel(Path(), {"x.py": 9})) == "0.0 MB in 1 files"


def test_what_is_listed_is_what_modal_sends(tmp_path):
    grow(
        tmp_path,
        *"train.jsonl rewards/mine.py rewards/__pycache__/mine.pyc a/b/c/.env a/b/c/d.txt".split(),
        *"env/rewards.py keys.jsonl données/ü.jsonl .gitignore [odd]*?.txt wandb/run/log".split(),
        *"venv/pyvenv.cfg venv/lib/x.py .git/config outputs/run/model.bin build/lib.py".split(),
        "new\nline/key.pem",
        "new\nline/a\\b !.txt",
    )
    made = packed(tmp_path)
    assert set(made.sizes) == {
        *"train.jsonl rewards/mine.py a/b/c/d.txt env/rewards.py keys.jsonl données/ü.jsonl".split(),
        *".gitignore [odd]*?.txt".split(),
        "new\nline/a\\b !.txt",
    }
    assert set(sent(tmp_path, made.ignore)) == set(made.sizes)
    assert made.bytes == sum((tmp_path / path).stat().st_size for path in made.sizes)
    assert str(made) == "0.0 MB in 9 files"
    assert not made.findings


NAMES = st.sampled_from(["a", "b", "c.txt", "build", ".env", "x.pem", "__pycache__", ".git"])
TREES = st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=8)
PATTERNS = st.lists(
    st.sampled_from(["a", "a/b", "**/c.txt", "b/*", "*/a", "!a/b", "!**/c.txt", "!build", "!.env"]),
    max_size=3,
)


@given(tree=TREES, ignore=PATTERNS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_patterns_mean_what_they_mean_to_modal(tree, ignore, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    for path in sorted(tree, key=len, reverse=True):  # the deepest first: a file is no folder
        if not (folder / path).exists() and not any(
            (folder / each).is_file() for each in Path(path).parents
        ):
            grow(folder, path)
    expected = {
        path for path in sent(folder, FilePatternMatcher(*USUAL, *ignore)) if not _is_left(path)
    }
    made = packed(folder, *ignore)
    assert set(made.sizes) == expected == set(sent(folder, made.ignore))


def _is_left(path):
    """By its names: a folder may be called `.env`."""
    *folders, file = Path(path).parts
    return {".git", "__pycache__"} & {*folders} or file in (".env", "x.pem", ".git")


@pytest.mark.parametrize("ignore", [[], ["data", "!data/kept.jsonl"]])
def test_what_stays_is_not_walked(tmp_path, monkeypatch, ignore):
    big = [".venv/lib/big.bin", "outputs/run/checkpoint-1/big.bin", ".git/objects/big.bin"]
    grow(tmp_path, "data/kept.jsonl", "data/other/x.jsonl", *big)
    for path in big:
        os.truncate(tmp_path / path, 3_000_000_000)
    walked, scandir = set(), os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: walked.add(os.path.relpath(path, tmp_path)) or scandir(path)
    )
    made = packed(tmp_path, *ignore)
    assert "data/kept.jsonl" in made.sizes
    assert walked == {".", "data", "data/other"}
    walked.clear()
    assert set(sent(tmp_path, made.ignore)) == set(made.sizes)
    assert walked == ({".", "data"} if ignore else {".", "data", "data/other"})


def test_links(tmp_path):
    outside = grow(tmp_path / "outside", "train.jsonl", "login.pem", "folder/x.txt")
    folder = grow(tmp_path / "work", "here.txt", "real/y.txt")
    for name, target in {
        "train.jsonl": outside / "train.jsonl",
        "notes.txt": outside / "login.pem",
        "models": outside / "folder",
        "again": folder / "real",
        "outputs": outside / "folder",
        "broken.txt": outside / "nowhere",
        "loop": folder / "loop",
    }.items():
        (folder / name).symlink_to(target)
    made = packed(folder)
    assert set(made.sizes) == {"here.txt", "real/y.txt", "train.jsonl"}
    assert sent(folder, made.ignore) == {
        "here.txt": folder / "here.txt",
        "real/y.txt": folder / "real/y.txt",
        "train.jsonl": outside / "train.jsonl",
    }
    assert set(made.lost) == {"models", "again", "broken.txt", "loop"}
    assert made.why_not("models/x.txt").why == "Modal sends no linked folder"
    assert "secret" in made.why_not("notes.txt").why
    (warning,) = made.findings
    assert warning.level == "warning"
    assert "broken.txt (No such file or directory)" in warning.what
    assert "models (Modal sends no linked folder)" in warning.what


def test_what_is_no_readable_file_is_said_and_not_sent():
    with TemporaryDirectory() as made_here, socket.socket(socket.AF_UNIX) as server:
        folder = grow(Path(made_here), "here.txt", "closed.txt", "closed/in.txt")
        folder.chmod(0o755)
        os.mkfifo(folder / "pipe")
        server.bind(str(folder / "socket"))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).touch()
        for path in ("closed.txt", "closed"):
            (folder / path).chmod(0)
        with as_nobody():
            made = packed(folder)
        assert set(made.sizes) == {"here.txt"} == set(sent(folder, made.ignore))
        (folder / "closed").chmod(0o700)
    (warning,) = made.findings
    assert warning.what == (
        "not sent: closed (Permission denied), closed.txt (Permission denied), "
        "pipe (not a file), socket (not a file), \\udcff.txt (its name is not UTF-8)"
    )


@contextmanager
def as_nobody():
    """Within, root has no more rights than others."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_many_that_are_lost_are_one_warning(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.txt").symlink_to("nowhere")
    (warning,) = packed(tmp_path).findings
    assert warning.what.endswith("4.txt (No such file or directory), and 4 more")


def test_why_something_stays(tmp_path):
    made = packed(grow(tmp_path, "data/a.jsonl", "data/b.jsonl", "x/.env", "wandb/log"), "data/*")
    assert made.why_not("x") and made.why_not("x/.env")
    assert made.why_not("data").why == "the pattern data/* leaves it out"
    assert made.why_not("wandb/log").fix == '`ignore: ["!wandb"]` brings it back'
    assert made.why_not("empty").why == "no file is in it"
    made = packed(tmp_path, "data/a.jsonl")
    assert made.why_not("data") is None and made.why_not(".") is None


def test_too_much_is_an_error(tmp_path):
    grow(tmp_path, "small.txt", "data/big.bin")
    os.truncate(tmp_path / "data/big.bin", 3_000_000)
    assert not packed(tmp_path, max_mb=4).findings
    (finding,) = packed(tmp_path, max_mb=3).findings
    assert finding.level == "error" and finding.what.endswith("most of it in data/big.bin (3.0 MB)")
    assert not packed(tmp_path, "data", max_mb=3).findings


def test_keys_under_any_name_stay_are_said_and_can_be_asked_for(tmp_path):
    grow(tmp_path, "train.py", "deploy/my_token", "my-project-1a2b.json", "tests/example.json")
    for name in ("my-project-1a2b.json", "tests/example.json"):
        (tmp_path / name).write_text('{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----"}')
    made = packed(tmp_path, "!tests/example.json")
    assert set(made.sizes) == {"train.py", "tests/example.json"} == set(sent(tmp_path, made.ignore))
    (finding,) = made.findings
    assert finding.level == "warning" and finding.what == (
        "not sent: deploy/my_token (a secret by its name), my-project-1a2b.json (a key is in it)"
    )
    assert '`ignore: ["!my-project-1a2b.json"]`' in made.why_not("my-project-1a2b.json").fix
    assert packed(tmp_path, "deploy", "*.json", "!tests/example.json").findings == []


def test_a_home_is_not_sent(tmp_path, monkeypatch):
    home = grow(tmp_path / "home", "me/project/train.py") / "me"
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent, Path("/")):
        with pytest.raises(ConfigError, match="it holds your home folder"):
            packed(folder)
    assert packed(home / "project").sizes

"""A file is whole or not there, and a full disk is named with its path and free bytes."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from axolotl_grpo_plugin.output.files import full_disk, write_text, writing, written
from tests.conftest import Later, refused

torch = Later("torch")


@pytest.fixture
def small_files():
    """Files of this process cannot be longer than 4 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_earlier_file_stays_if_writing_fails(tmp_path, small_files):
    file = tmp_path / "run.json"
    write_text(file, "earlier")
    with refused("full-disk", rf"{file}: cannot be written: File too large \([\d,]+ bytes free\)"), writing(tmp_path):
        write_text(file, "x" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"] and file.read_text() == "earlier"


def test_kill_while_writing_leaves_the_earlier_file(tmp_path):
    file = tmp_path / "run.json"
    write_text(file, "earlier")
    child = os.fork()
    if not child:
        with written(file) as part:
            part.write_text("cut")
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert file.read_text() == "earlier"


def test_full_disk_is_named_with_its_free_bytes(full):
    with refused("full-disk", f"{full}/a: cannot be written: No space left on device .0 bytes free"), writing(full):
        write_text(full / "a", "x" * 10_000)
    with refused("full-disk", f"{full}/b: cannot be written"), writing(full):
        shutil.copyfile(__file__, full / "b")


def test_torch_does_not_name_the_disk_but_we_do(full):
    with pytest.raises(RuntimeError) as error:
        torch.save(torch.zeros(10_000), full / "optimizer.pt")
    assert "No space" not in str(error.value)
    finding = full_disk(error.value, full / "checkpoint-3")
    assert f"{full}/checkpoint-3: cannot be written: No space left on device (0 bytes free)" in str(finding)


@pytest.mark.parametrize(
    "error, code",
    [
        (ValueError("a shape is wrong"), None),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "full-disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "full-disk"),
    ],
)
def test_other_errors_are_no_full_disk(tmp_path, error, code):
    finding = full_disk(error, tmp_path)
    assert (finding and finding.code) == code


def test_forbidden_folder_is_named():
    with refused("cannot-be-written", "/proc/run.json"), writing(Path("/proc")):
        write_text(Path("/proc/run.json"), "x")

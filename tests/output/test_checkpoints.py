"""A checkpoint is whole if all of its files are, however a kill, a full disk or a power cut has left it."""

import json
import shutil

import pytest
from safetensors.numpy import save_file

from axolotl_grpo_plugin.output.checkpoints import FILES, STATE, clear, newest_whole, seal, why_not_whole
from tests.conftest import Later

numpy = Later("numpy")
torch = Later("torch")
FILES_OF_A_RANK = ("model.safetensors", "optimizer.pt", "generation_batch_0_of_2.pt", "global_step3/zero.pt")


def write(folder, sealed=True):
    """Write a checkpoint in the order of a training."""
    (folder / "global_step3").mkdir(parents=True)
    save_file({"weight": numpy.zeros(100)}, folder / "model.safetensors")
    for name in FILES_OF_A_RANK[1:]:
        torch.save({"numbers": torch.zeros(100)}, folder / name)
    (folder / "config.json").write_text("{}")
    if sealed:
        seal(folder)
    (folder / STATE).write_text(json.dumps({"global_step": 3}))
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A checkpoint of this plugin, and one of another program, without a list of files."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {True: write(folder / "ours"), False: write(folder / "theirs", sealed=False)}


@pytest.fixture
def copy(checkpoints, tmp_path):
    return lambda sealed=True: shutil.copytree(checkpoints[sealed], tmp_path / "checkpoint-3")


def cut(file, size):
    with file.open("r+b") as opened:
        opened.truncate(size)


@pytest.mark.parametrize("sealed", [True, False])
def test_untouched_checkpoint_is_whole(copy, sealed):
    assert why_not_whole(copy(sealed)) == ""


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", [*FILES_OF_A_RANK, STATE])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_names_the_file_that_is_cut(copy, sealed, name, share):
    folder = copy(sealed)
    cut(folder / name, int((folder / name).stat().st_size * share))
    assert why_not_whole(folder) == f"{name} is cut"


@pytest.mark.parametrize("name", [*FILES_OF_A_RANK, "config.json", STATE])
def test_names_the_file_that_is_missing(copy, name):
    folder = copy()
    (folder / name).unlink()
    assert why_not_whole(folder) == f"{name} is missing"


@pytest.mark.parametrize("state", ["", "[]", '{"global_st'])
def test_state_must_be_an_object(copy, state):
    folder = copy()
    (folder / STATE).write_text(state)
    assert why_not_whole(folder) == f"{STATE} is cut"


def test_file_that_a_callback_adds_later_does_not_count(copy):
    folder = copy()
    (folder / "tokens_state.json").write_text("{}")
    assert why_not_whole(folder) == ""


def test_newest_whole_checkpoint_is_found_by_its_step(tmp_path):
    for step in (9, 10, 11, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert newest_whole(tmp_path).folder is None
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}" / STATE).write_text("{}")
    newest = newest_whole(tmp_path)
    assert newest.folder.name == "checkpoint-10"
    assert newest.left_out == {f"checkpoint-{step}": f"{STATE} is missing" for step in (100, 11)}


def test_cleared_checkpoint_leaves_nothing_to_mix_with(copy):
    folder = copy()
    assert (folder / FILES).exists()
    clear(folder)
    clear(folder)
    assert not folder.exists()

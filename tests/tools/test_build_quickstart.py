"""The scripts still make the committed data files."""

import json

import pytest

from tests.conftest import QUICKSTART
from tools import countdown_problems


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    from tools import build_quickstart  # imports torch

    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_quickstart, "FOLDER", folder)
        build_quickstart.write_problems()
    return folder


@pytest.mark.parametrize(
    "name, rows",
    [
        ("train.jsonl", 918),
        ("held_out.jsonl", 234),
        ("countdown/train.jsonl", 600),
        ("countdown/held_out.jsonl", 200),
        ("code.jsonl", 80),
        ("tools/train.jsonl", 800),
        ("tools/held_out.jsonl", 200),
        ("tools/games.jsonl", 70),
    ],
)
def test_committed_problems_are_those_the_script_makes(made, name, rows):
    text = (made / name).read_text()
    assert text == (QUICKSTART / name).read_text()
    assert len(text.splitlines()) == rows


def test_held_out_sums_and_products_have_other_operands():
    pairs, numbers = {}, {}
    for name in ("train", "held_out"):
        rows = map(json.loads, (QUICKSTART / f"{name}.jsonl").open())
        works = [row["answer"].split() for row in rows]
        pairs[name] = {(int(work[0]), work[1], int(work[2])) for work in works}
        rows = map(json.loads, (QUICKSTART / "countdown" / f"{name}.jsonl").open())
        numbers[name] = {countdown_problems.held_out(row["nums"]) for row in rows}
    # A difference puts the larger operand first, so its operands can be in both files.
    assert {operation for _, operation, _ in pairs["train"] & pairs["held_out"]} == {"-"}
    assert numbers == {"train": {False}, "held_out": {True}}


def test_held_out_problems_for_the_calculator_have_other_operands():
    train, held_out = (
        {json.loads(row)["answer"].split(" =")[0] for row in (QUICKSTART / "tools" / f"{name}.jsonl").open()}
        for name in ("train", "held_out")
    )
    assert train and held_out and not train & held_out


@pytest.mark.parametrize("model", ["model", "countdown/model", "tools/model"])
def test_models_are_small_enough_for_the_wheel(model):
    assert sum(file.stat().st_size for file in (QUICKSTART / model).iterdir()) < 2_000_000

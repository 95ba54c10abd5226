from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.cloud.sizes import NAMED, biggest, check_size

MODEL = {"models/a/weights-1": 600, "models/a/weights-2": 500, "models/b/weights": 90}


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({}, []),
        ({"a": 1}, [("a", 1)]),
        ({"a/b/c": 7}, [("a/b/c", 7)]),
        # One file is the most of its folder; many small ones are named as their folder.
        ({"data/big": 9, "data/small": 1}, [("data/big", 9), ("data/small", 1)]),
        ({f"data/{number}": 1 for number in range(9)}, [("data/", 9)]),
        (
            MODEL,
            [("models/a/weights-1", 600), ("models/a/weights-2", 500), ("models/b/weights", 90)],
        ),
        ({"models/a/1": 50, "models/a/2": 50, "x": 3}, [("models/a/", 100), ("x", 3)]),
        ({str(number): number for number in range(9)}, [(str(n), n) for n in (8, 7, 6, 5, 4)]),
    ],
)
def test_the_biggest(sizes, named):
    assert biggest(sizes) == named


PATHS = st.lists(st.sampled_from("abc"), min_size=4, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.integers(0, 100)))
def test_no_byte_is_counted_twice(sizes):
    named = biggest(sizes)
    assert len(named) <= NAMED
    assert named == sorted(named, key=lambda each: -each[1])
    for path, size in named:
        inside = [file for file in sizes if file == path or file.startswith(path)]
        assert size == sum(sizes[file] for file in inside)
        assert not any(other != path and other.startswith(path) for other, _ in named)


def test_too_much_names_what_to_leave():
    sizes = {"data/big/1": 2_000_000_000, "data/big/2": 1_999_000_000, "train.py": 1_000_000}
    assert not list(check_size(Path("/home/me/it"), sizes, 4000, {}))
    (finding,) = check_size(Path("/home/me/it"), sizes, 3999.9, {"/workspace/outputs": "runs"})
    assert str(finding) == (
        "cloud.yaml: max_size (3999.9 MB): 4,000 MB in /home/me/it would be sent, most of it in "
        "data/big/1 (2,000 MB), data/big/2 (1,999 MB). Name what the run does "
        "not read in `ignore`, or raise max_size, or put it on a Volume: `modal volume put runs "
        "data/big/1 REMOTE`."
    )
    assert finding.level == "error"


def test_the_line_that_puts_it_on_a_volume_can_be_typed():
    (finding,) = check_size(
        Path("/a"), {"my data/a 1": 2_000_000}, 1, {"/workspace/outputs": "runs"}
    )
    assert "`modal volume put runs 'my data/a 1' REMOTE`" in finding.fix

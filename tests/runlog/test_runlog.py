"""The rollout log: which scores are right, which attempts count, and what a file tells its reader."""

import pytest

from axolotl_grpo_plugin.runlog.attempts import next_attempt, rollout_files
from axolotl_grpo_plugin.runlog.reader import rewards_in
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, rewards_of
from axolotl_grpo_plugin.runlog.schema import save


@pytest.mark.parametrize(
    "ends, score, right",
    [
        ((0.0, 1.0), 1.0, True),
        ((0.0, 1.0), 0.3, False),
        ((-1.0, 0.0), 0.0, True),
        ((-1.0, 0.0), -0.5, False),
        ((0.0, 0.7), 0.699999988079071, True),  # 0.7 as TRL's float32
        ((0.0, 1.0), None, None),
        (None, 1.0, None),
    ],
)
def test_right_is_the_declared_maximum(ends, score, right):
    assert LoggedReward("r", ends).right(score) is right


def log(folder, attempt, *steps):
    for step in steps:
        save(folder / f"train/{attempt:03d}-{step:06d}-000-000000.parquet", {"step": [step] * 2})


@pytest.mark.parametrize(
    "attempts, counted, rows",
    [
        ([(1, 2, 3)], ["1-1", "1-2", "1-3"], 0),
        ([(1, 2, 3), (3, 4)], ["1-1", "1-2", "2-3", "2-4"], 2),
        ([(1, 2, 3), (3, 4), (2,)], ["1-1", "3-2"], 8),
        ([(1, 2, 3), (1,)], ["2-1"], 6),
        ([(1, 2, 3, 4), (2, 3), (4, 5)], ["1-1", "2-2", "2-3", "3-4", "3-5"], 6),
    ],
)
def test_steps_that_a_later_attempt_repeats_are_left_out(tmp_path, attempts, counted, rows):
    for attempt, steps in enumerate(attempts, 1):
        log(tmp_path, attempt, *steps)
    found = rollout_files(tmp_path)
    names = [file.name.split("-") for file in found.counted]
    assert [f"{int(attempt)}-{int(step)}" for attempt, step, *_ in names] == counted
    note = f"{rows} rollouts of earlier attempts are left out, because a later attempt repeated their steps."
    assert found.note() == (note if rows else "")
    assert next_attempt(tmp_path) == len(attempts) + 1


def wrong_bytes(file):
    """Overwrite the middle of a file, as a power cut may leave it."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 4
    content[middle : middle + 20] = bytes(20)
    file.write_bytes(content)


@pytest.mark.parametrize(
    "destroy",
    [lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:-9]), wrong_bytes],
    ids=["empty", "cut", "wrong bytes"],
)
def test_file_that_cannot_be_read_is_left_out_by_name(tmp_path, destroy):
    for step in (1, 2):
        columns = {"step": [step] * 50, "completion": [f"{step} {number}" * 9 for number in range(50)]}
        save(tmp_path / f"train/001-{step:06d}-000-000000.parquet", columns)
    first, second = sorted(tmp_path.glob("train/*"))
    destroy(first)
    files = rollout_files(tmp_path)
    assert files.counted == [second] and list(files.unreadable) == [first]
    assert f"{first} is left out, because it cannot be read: " in files.note()


def test_attempt_whose_first_file_cannot_be_read_still_repeats_its_steps(tmp_path):
    log(tmp_path, 1, 1, 2, 3)
    log(tmp_path, 2, 2, 3)
    second = sorted(tmp_path.glob("train/002-*"))
    second[0].write_bytes(b"")
    assert [file.name[:10] for file in rollout_files(tmp_path).counted] == ["001-000001", "002-000003"]


def test_file_tells_the_rewards_in_their_order_with_their_ranges(tmp_path):
    file, columns, known = tmp_path / "a.parquet", {"reward/a": [0.5], "reward/b": [1.0]}, {"a": (0.0, 0.5)}
    save(file, columns, rewards_of({"b": [0.0, 1.0], "a": None}))
    assert dict(rewards_in(file, known)) == {"b": [0.0, 1.0], "a": None}
    save(file, columns)  # an old log
    assert dict(rewards_in(file, known)) == {"a": (0.0, 0.5), "b": None}

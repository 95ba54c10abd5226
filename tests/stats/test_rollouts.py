import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import save
from axolotl_grpo_plugin.stats.rollouts import NoRollouts, read_rollouts


def log(folder, step, tokens, truncated, reward, attempt=1):
    columns = {
        "step": [step] * len(tokens),
        "completion": ["x"] * len(tokens),
        "completion_tokens": tokens,
        "truncated": truncated,
        "column/answer": ["1"] * len(tokens),
        "reward/same_answer": reward,
        "error/same_answer": ["boom" if score == 1.5 else None for score in reward],
        "reward/accuracy_of_layout": [0.5] * len(tokens),
    }
    ranges = {"same_answer": [0.0, 2.0], "accuracy_of_layout": [0.0, 0.5]}
    save(folder / f"{attempt:03d}-{step:06d}-000-000000.parquet", columns, rewards_of(ranges))


def test_reads_the_rollout_log(tmp_path):
    train = tmp_path / "rollouts" / "train"
    log(train, 1, [10, 64, 64, 20], [False, True, True, False], [2.0, 0, 2.0, 1.5])
    log(train, 2, [30] * 4, [False] * 4, [0.0] * 4)
    log(tmp_path / "rollouts" / "eval", 2, [64], [True], [0.0])
    for folder in (tmp_path, tmp_path / "rollouts", train):
        found = read_rollouts(folder)
        assert (found.rows, found.truncated, found.share, found.limit) == (8, 2, 0.25, 64)
        assert found.finished.counts == {10: 1, 20: 1, 30: 4}
        assert found.reward.name == "same_answer"
        assert (found.right, found.judged) == ({False: 1, True: 1}, {False: 5, True: 2})
        assert found.enough() is None


def test_enough_is_the_length_of_99_percent(tmp_path):
    log(tmp_path, 1, [*range(1, 101)], [False] * 100, [0.0] * 100)
    assert read_rollouts(tmp_path).enough() == 128
    log(tmp_path, 1, [*range(1, 97), *[600] * 4], [False] * 99 + [True], [0.0] * 100)
    assert read_rollouts(tmp_path).enough() == 608
    log(tmp_path, 1, [5] * 98 + [600] * 2, [False] * 98 + [True] * 2, [0.0] * 100)
    assert read_rollouts(tmp_path).enough() is None


def test_steps_before_the_last_attempt_count(tmp_path):
    for step in (1, 2):
        log(tmp_path, step, [8, 8], [True, True], [0.0, 0.0])
    log(tmp_path, 2, [5, 6], [False, None], [0.0, 2.0], attempt=2)
    found = read_rollouts(tmp_path)
    assert (found.rows, found.truncated, found.right.total()) == (4, 2, 1)
    assert found.note.startswith("2 rollouts of earlier attempts are left out")


def test_reads_logs_without_rewards(tmp_path):
    bare = {"step": [1], "completion_tokens": [5], "truncated": [False]}
    pq.write_table(pa.table(bare), tmp_path / "a.parquet")
    assert read_rollouts(tmp_path).plain()["right"] is None
    pq.write_table(pa.table({**bare, "reward/other": [1.0]}), tmp_path / "b.parquet")
    assert read_rollouts(tmp_path).rows == 2


def test_unreadable_file_is_named(tmp_path):
    empty = pa.table({"step": [], "completion_tokens": [], "truncated": []})
    pq.write_table(empty, tmp_path / "a.parquet")
    with pytest.raises(NoRollouts, match="no rollouts in its 1 files"):
        read_rollouts(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(NoRollouts, match=r"b\.parquet: cannot be read"):
        read_rollouts(tmp_path / "b.parquet")
    pq.write_table(pa.table({"step": [1], "completion_tokens": [5], "truncated": [False]}), tmp_path / "c.parquet")
    lengths = read_rollouts(tmp_path)
    assert lengths.rows == 1 and "b.parquet is left out, because it cannot be read: " in lengths.note


def test_refuses_folders_without_rollouts(tmp_path):
    with pytest.raises(NoRollouts, match="no rollouts there"):
        read_rollouts(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(NoRollouts, match="it has: a"):
        read_rollouts(tmp_path)

"""Merged files of a rollout log: no row is lost or doubled, also if the merge is killed."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.output import files as output
from axolotl_grpo_plugin.runlog import merging
from axolotl_grpo_plugin.runlog.attempts import next_attempt, rollout_files
from axolotl_grpo_plugin.runlog.merging import merge
from axolotl_grpo_plugin.runlog.reader import rewards_in
from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import write


def write_batch(folder, number, step, attempt=1, rank=0, mode="train", **more):
    columns = {"attempt": [attempt] * 2, "step": [step] * 2, "rank": [rank] * 2, "mode": [mode] * 2}
    columns |= {"completion": [f"{attempt} {step} {rank} {row}" for row in (0, 1)], **more}
    write(folder, number, columns, rewards_of({"r": [0.0, 1.0]}))


def texts(folder):
    return [row["completion"] for row in rollout_files(folder).rows()]


def names(folder):
    return sorted(file.name.removesuffix(".parquet") for file in folder.glob("*/*.parquet"))


def test_files_of_a_rank_become_one_file_with_all_columns(tmp_path):
    write_batch(tmp_path, 0, 1)
    write_batch(tmp_path, 0, 1, rank=1)
    write_batch(tmp_path, 2, 2, discarded=[False, True])
    before = texts(tmp_path)
    merge(tmp_path, 0)
    merged = tmp_path / "train/001-000001-000-000000-000002.parquet"
    assert sorted(texts(tmp_path)) == sorted(before) and rollout_files(tmp_path).counted[0] == merged
    assert pq.read_table(merged)["discarded"].to_pylist() == [None, None, False, True]
    assert dict(rewards_in(merged)) == {"r": [0.0, 1.0]}
    write_batch(tmp_path, 3, 3)
    write_batch(tmp_path, 4, 4)
    merge(tmp_path, 0)
    own = "001-000001-000-000000-000002", "001-000001-001-000000", "001-000003-000-000003-000004"
    assert names(tmp_path) == list(own)
    assert len(texts(tmp_path)) == 10 and next_attempt(tmp_path) == 2


@pytest.mark.parametrize(
    "moment",
    ["while it is written", "before its name", "before the small ones are removed", "while the small ones are removed"],
)
def test_killed_merge_neither_loses_nor_doubles_rows(tmp_path, monkeypatch, moment):
    for number in range(3):
        write_batch(tmp_path, number, number + 1)
    before = texts(tmp_path)
    killed = {
        "while it is written": (pq.ParquetWriter, "write_table"),
        "before its name": (output.os, "replace"),
        "before the small ones are removed": (merging, "sync"),
        "while the small ones are removed": (Path, "unlink"),
    }

    unlink = Path.unlink

    def kill(file, *_, **__):
        if moment.startswith("while the small"):
            unlink(file)
        raise KeyboardInterrupt

    monkeypatch.setattr(*killed[moment], kill)
    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path, 0)
    assert texts(tmp_path) == before
    monkeypatch.undo()
    merge(tmp_path, 0)
    assert texts(tmp_path) == before and names(tmp_path) == ["001-000001-000-000000-000002"]


@pytest.mark.parametrize("start, counted, rows", [(3, 2, 4), (1, 0, 8), (5, 4, 0)])
def test_steps_that_a_later_attempt_repeats_are_left_out_of_a_merged_file(tmp_path, start, counted, rows):
    for number in range(4):
        write_batch(tmp_path, number, number + 1)
    merge(tmp_path, 0)
    write_batch(tmp_path, 0, start, attempt=2)
    found = rollout_files(tmp_path)
    assert len(texts(tmp_path)) == 2 * counted + 2
    assert [row["completion"][:3] for row in found.rows(["completion"])][::2] == [
        *(f"1 {step}" for step in range(1, counted + 1)),
        f"2 {start}",
    ]
    note = f"{rows} rollouts of earlier attempts are left out, because a later attempt repeated their steps."
    assert found.note() == (note if rows else "")


def test_file_that_cannot_be_read_is_not_merged_and_still_named(tmp_path):
    for number in range(5):
        write_batch(tmp_path, number, number + 1)
    broken = tmp_path / "train/001-000003-000-000002.parquet"
    broken.write_bytes(b"")
    merge(tmp_path, 0)
    found = rollout_files(tmp_path)
    assert list(found.unreadable) == [broken] and len(texts(tmp_path)) == 8
    assert names(tmp_path) == ["001-000001-000-000000-000001", "001-000003-000-000002", "001-000004-000-000003-000004"]


def test_small_files_count_if_the_merged_one_cannot_be_read(tmp_path):
    for number in range(2):
        write_batch(tmp_path, number, number + 1)
    before = texts(tmp_path)
    (tmp_path / "train/001-000001-000-000000-000001.parquet").write_bytes(b"")
    assert texts(tmp_path) == before
    merge(tmp_path, 0)
    assert texts(tmp_path) == before and not rollout_files(tmp_path).unreadable


def test_reader_that_has_listed_files_finds_their_rows_after_a_merge(tmp_path):
    for number in range(3):
        write_batch(tmp_path, number, number + 1)
    before = texts(tmp_path)
    listed = rollout_files(tmp_path)
    merge(tmp_path, 0)
    assert len(names(tmp_path)) == 1
    assert [row["completion"] for row in listed.rows(["completion"])] == before
    assert dict(listed.rewards()) == {"r": [0.0, 1.0]}

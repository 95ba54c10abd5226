"""The data of the page: groups, curves, sampled groups, signs, held-out and evaluation answers."""

import base64
import gzip
import json
import random
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.runlog.merging import merge
from axolotl_grpo_plugin.runlog.reader import chat
from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import as_text, save
from axolotl_grpo_plugin.viewer import run
from axolotl_grpo_plugin.viewer.log import Log, rollouts_of
from axolotl_grpo_plugin.viewer.page import packed, page
from axolotl_grpo_plugin.viewer.run import RunRecord
from axolotl_grpo_plugin.viewer.signs import SIGNS
from tests.viewer.data import CHAT, FIRST, HOSTILE, same, write_eval, write_held_out, write_run, write_step


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine")


def test_data_has_groups_curves_and_facts(folder):
    data = RunRecord(folder).data()
    assert data["groups"][:2] == [[1, 0, 8], [1, 1, 2]]
    assert len(data["text"]) == data["total"] == 60
    assert data["text"][6] == as_text(CHAT)
    assert (data["rewards"], data["notes"]) == (["correctness", "layout"], [])
    first, *_, last = data["steps"]
    assert (first["right"], last["right"]) == (0.4, 0.6)
    assert (first["dead"], first["truncated"], first["groups"]) == (0.5, 0.1, 2)
    assert first["reasons"][0] == {"correct": 0.4, "wrong_value": 0.6}
    assert data["facts"]["Command"] == "axolotl-grpo train </title>"


def test_resumed_steps_come_from_the_last_attempt(tmp_path):
    log = Log(tmp_path)
    for attempt, steps in ((1, (1, 2, 3)), (2, (2, 3, 4))):
        for step in steps:
            write_step(tmp_path, step, [("p", "text", attempt == 2, 0.5)], attempt)
        log.update()  # a page that is open while the run resumes
    assert [rollout.right for rollout in rollouts_of(log.groups())] == [False, True, True, True]
    data = RunRecord(tmp_path).data()
    assert (data["total"], data["notes"][0][:30]) == (4, "2 rollouts of earlier attempts")


def test_merged_files_are_not_read_again(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        write_step(tmp_path, step, [("p", f"text {step}", 1, 0.5), ("p", f"more {step}", 0, 0.5)])
    record = RunRecord(tmp_path)
    before = record.data()
    merge(tmp_path / "rollouts", 0)
    assert record.data() == before  # the page was asked for before the server has seen the merge
    monkeypatch.setattr(Log, "_add", None)
    assert record.log.update() is None
    assert record.data() == before
    monkeypatch.undo()
    write_step(tmp_path, 4, [("p", "text 4", 1, 0.5)])
    assert record.log.update() == 4
    assert record.data()["text"][-2:] == ["more 3", "text 4"]


def test_steps_that_were_repeated_are_left_out_of_a_merged_file(tmp_path):
    for step in (1, 2, 3):
        write_step(tmp_path, step, [("p", f"text {step}", 1, 0.5)])
    record = RunRecord(tmp_path)
    merge(tmp_path / "rollouts", 0)
    record.log.update()
    write_step(tmp_path, 3, [("p", "again", 1, 0.5)], attempt=2)
    assert record.log.update() == 0
    assert record.data()["text"] == ["text 1", "text 2", "again"]


def test_first_reward_says_what_is_right_at_its_declared_maximum(tmp_path):
    ranges = {"same_answer": [0.0, 1.0], "layout_accuracy": [0.0, 1.0]}
    scores = {"reward/same_answer": [0.3, 0.0], "reward/layout_accuracy": [1.0, 1.0]}
    columns = same(2, {"attempt": 1, "step": 1, "prompt": "p", "completion": "a"})
    columns |= {"group": [0, 1], **scores}
    file = tmp_path / "train/001-000001-000-000000.parquet"
    save(file, columns, rewards_of(ranges))
    data = RunRecord(tmp_path).data()
    assert (data["rewards"][0], data["steps"][0]["right"], len(data["groups"])) == ("same_answer", 0.0, 2)
    save(file, columns)  # an old log
    data = RunRecord(tmp_path).data()
    assert data["steps"][0]["right"] is None and "same_answer has no declared maximum" in data["notes"][0]


def test_leaves_out_a_file_that_is_not_whole(folder):
    whole = RunRecord(folder).data()["total"]
    files = sorted((folder / "rollouts" / "train").glob("*.parquet"))
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    cut = RunRecord(folder)
    data = cut.data()
    assert f"{files[-1]} is left out, because it cannot be read: " in data["notes"][0]
    assert 0 < data["total"] < whole


def test_leaves_out_answers_and_a_config_that_cannot_be_read(folder):
    write_held_out(folder, [0.0], [1.0], {"a": None})
    (folder / "held_out" / "scores.parquet").write_bytes(b"")
    (folder / "run.yaml").write_text("a: !!python/object/apply:os.system [ls]")
    data = RunRecord(folder).data()
    assert data["answers"] == [] and [note.partition(" is left out")[0] for note in data["notes"]] == [
        f"{folder}/run.yaml",
        f"{folder}/held_out/scores.parquet",
    ]


def test_groups_are_left_out_above_a_size_but_curves_count_all(tmp_path, monkeypatch):
    for step in (1, 2):
        rows = [(f"{step} {group}", "w" * 100, 0, 0.1) for group in range(10) for _ in range(2)]
        rows[14] = (f"{step} 7", "w" * 100, 0, 2.0)  # paid, but wrong
        write_step(tmp_path, step, rows)
    whole = RunRecord(tmp_path).data()
    monkeypatch.setattr(run, "SIZE", 1600)
    part = RunRecord(tmp_path).data()
    assert len(whole["text"]) == whole["total"] == part["total"] == 40
    assert len(part["text"]) <= 16
    assert part["steps"] == whole["steps"]
    assert {"1 7", "2 7"} <= {part["prompts"][prompt] for _, prompt, _ in part["groups"]}


def test_discarded_rollouts_do_not_count_in_curves(tmp_path):
    rows = [("p", "a", 1, 0.5), ("q", "b", 0, 0.5)]
    write_step(tmp_path, 1, rows, discarded=[False, True])
    data = RunRecord(tmp_path).data()
    assert (data["steps"][0]["right"], data["discarded"]) == (1.0, [0, 1])


def test_refuses_folders_without_rollouts(tmp_path):
    of_trl = {"step": [1], "prompt": ["p"], "completion": ["a"], "own_reward": [1.0], "advantage": [1.0]}
    for name in ("empty", "completions"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.table(of_trl), tmp_path / "completions/completions_00001.parquet")
    for folder in (tmp_path / "empty", tmp_path):
        with pytest.raises(FindingError) as refused:
            RunRecord(folder)
        assert refused.value.finding.code == "no-rollouts"


def test_each_sign_is_found(tmp_path):
    reasoning = "Ten plus two is twelve and that is the number of pens that she has now in total."
    usual = f"<reasoning>{reasoning}</reasoning><answer>4</answer>"
    long = " ".join(random.Random(1).choices("abcdefghijklmnopq", k=400))
    texts = {
        usual: set(),
        f"<reasoning>{reasoning}</reasoning>": {"paid, but no answer was read"},
        f"<reasoning>{'I think so. ' * 20}</reasoning><answer>4</answer>": {"paid, but repeats itself"},
        f"<reasoning>{long}</reasoning>": {"paid, but very long"},
        "<answer>4</answer>": {"paid, but very short"},
    }
    rows = [("p", text, 1, 0.5) for text in [*texts, usual, usual, usual, usual]]
    rows += [("p", "so it is 4", 0, 0.5), ("p", "so it is, after all that was said here, 5", 0, 2.0)]
    read = ["4", None, *["4"] * (len(rows) - 2)]
    write_step(tmp_path, 1, rows, **{f"read/{FIRST}": read})
    data = RunRecord(tmp_path).data()
    found = list(map(set, data["signs"]))
    assert found[: len(texts)] == list(texts.values())
    assert found[-2:] == [{"unpaid, but ends with the gold"}, {"paid, but wrong"}]
    assert {*SIGNS} == set.union(*found)


def test_held_out_and_evaluation_answers_are_tables(folder):
    write_eval(folder)
    held_out, evaluated = RunRecord(folder).data()["answers"]
    assert held_out["title"] == "held-out rows, greedy"
    rights = [answer["right"] for row in held_out["rows"] for answer in row["at"]]
    assert rights == [0, 1, 1, 0, 0, 1, 0, 1]
    assert (evaluated["title"], evaluated["moments"]) == ("gsm8k, greedy", ["base", "final"])
    before, after = evaluated["rows"][0]["at"]
    assert (before["right"], after["right"], before["why"][0]) == (False, True, "wrong")


def test_run_without_rollouts_shows_its_held_out_answers(tmp_path):
    write_held_out(tmp_path / "other", [0.0], [1.0], {FIRST: [0.0, 1.0]})
    data = RunRecord(tmp_path / "other").data()
    assert (data["text"], data["steps"], len(data["answers"])) == ([], [], 1)


@pytest.mark.parametrize("rest", ['"x"}, 5]', '"x", "content": 5}]', "5}]", '"x", "tool_calls": 5}]', "[" * 100_000])
def test_text_that_looks_like_a_chat_stays_a_text(rest):
    text = '[{"role": ' + rest
    assert chat(text) == text


def test_page_embeds_no_text_of_a_run(folder):
    data = [RunRecord(folder).data()]
    text = page("</title><script>1", packed(data))
    assert "window.hacked" not in text and "</title><script>1" not in text
    embedded = re.search(r'id="data">([^<]*)</script>', text)[1]
    assert re.fullmatch("[A-Za-z0-9+/=]+", embedded)
    read = json.loads(gzip.decompress(base64.b64decode(embedded)))
    assert read["runs"] == json.loads(json.dumps(data))
    assert len(data[0]["text"][4]) < 201_000 < len(HOSTILE[4])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)

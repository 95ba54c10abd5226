"""The data of the page: groups, curves, sampled groups, signs, held-out and evaluation answers."""

import base64
import gzip
import json
import random
import re

import pytest

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.runlog.reader import chat
from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import as_text, save, write
from axolotl_grpo_plugin.viewer.log import Log
from axolotl_grpo_plugin.viewer.page import packed, page
from axolotl_grpo_plugin.viewer.run import Run
from axolotl_grpo_plugin.viewer.signs import SIGNS
from tests.viewer.data import CHAT, HOSTILE, write_eval, write_run, write_step


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine")


def test_data_has_groups_curves_and_facts(folder):
    data = Run(folder).data()
    assert data["groups"][:2] == [[1, 0, 8], [1, 1, 2]]
    assert len(data["text"]) == data["total"] == 60
    assert data["text"][6] == as_text(CHAT)
    assert (data["rewards"], data["notes"]) == (["correctness", "layout"], [])
    first, *_, last = data["steps"]
    assert (first["right"], last["right"]) == (0.4, 0.6)
    assert (first["dead"], first["truncated"], first["groups"]) == (0.5, 0.1, 2)
    assert first["reasons"][0] == {"correct": 0.4, "wrong_value": 0.6}
    assert data["facts"]["Command"] == "axolotl grpo train </title>"
    assert data["curves"] == {"loss": [[1, 1.0], [2, 0.5], [3, 0.3333]]}


def test_resumed_steps_come_from_the_last_attempt(tmp_path):
    log = Log(tmp_path)
    for attempt, steps in ((1, (1, 2, 3)), (2, (2, 3, 4))):
        for step in steps:
            write_step(tmp_path, step, [("p", "text", attempt == 2, 0.5)], attempt)
        log.update()  # a page that is open while the run resumes
    assert [(group.step, group.rollouts[0].right) for group in log.groups()] == [
        (1, False), (2, True), (3, True), (4, True),
    ]  # fmt: skip
    data = Run(tmp_path).data()
    assert (data["total"], data["notes"][0][:30]) == (4, "2 rollouts of earlier attempts")


def test_first_reward_says_what_is_right_at_its_declared_maximum(tmp_path):
    ranges = {"same_answer": [0.0, 1.0], "layout_accuracy": [0.0, 1.0]}
    scores = {"reward/same_answer": [0.3, 0.0], "reward/layout_accuracy": [1.0, 1.0]}
    columns = {"attempt": [1, 1], "step": [1, 1], "rank": [0, 0], "mode": ["train"] * 2, "group": [0, 1]}
    columns |= {"prompt": ["p", "p"], "completion": ["a", "b"], **scores}
    write(tmp_path, 0, columns, rewards_of(ranges))
    data = Run(tmp_path).data()
    assert (data["rewards"][0], data["steps"][0]["right"], len(data["groups"])) == ("same_answer", 0.0, 2)
    save(tmp_path / "train/001-000001-000-000000.parquet", columns)  # an old log
    data = Run(tmp_path).data()
    reason = "No completion counts as right, because same_answer has no declared maximum on record."
    assert (data["steps"][0]["right"], data["notes"]) == (None, [reason])


def test_leaves_out_a_file_that_is_not_whole(folder):
    whole = Run(folder)
    files = sorted((folder / "rollouts" / "train").glob("*.parquet"))
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    cut = Run(folder)
    assert cut.log.broken == [files[-1]]
    assert 0 < len(cut.log.rollouts) < len(whole.log.rollouts)


def test_groups_are_left_out_above_a_size_but_curves_count_all(tmp_path):
    for step in (1, 2):
        rows = [(f"{step} {group}", "w" * 100, group > 4, group / 10) for group in range(10) for _ in range(2)]
        rows[7] = ("1 3", "w" * 100, 1, 0.3)  # a group with both
        write_step(tmp_path, step, rows)
    whole, part = Run(tmp_path).data(), Run(tmp_path, size=1600).data()
    assert len(whole["text"]) == whole["total"] == part["total"] == 40
    assert len(part["text"]) <= 16
    assert part["steps"] == whole["steps"]
    kept = {part["prompts"][prompt] for step, prompt, _ in part["groups"] if step == 1}
    assert {"1 0", "1 9", "1 3"} <= kept  # the worst, the best and the most mixed


def test_discarded_rollouts_do_not_count_in_curves(tmp_path):
    rows = [("p", "a", 1, 0.5), ("q", "b", 0, 0.5)]
    write_step(tmp_path, 1, rows, discarded=[False, True])
    data = Run(tmp_path).data()
    assert (data["steps"][0]["right"], data["discarded"]) == (1.0, [0, 1])


def test_reads_completions_of_trl(tmp_path):
    columns = {
        "step": [1, 1],
        "prompt": ["p", "p"],
        "completion": ["a", "bc"],
        "reward": [1.0, 0.0],
        "advantage": [1.0, -1.0],
    }
    columns = {"own_reward" if name == "reward" else name: values for name, values in columns.items()}
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "completions").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "completions/completions_00001.parquet")
    data = Run(tmp_path).data()
    assert (data["rewards"], data["reward"], data["tokens"]) == (["own_reward"], [1.0, 0.0], [None, None])
    assert data["steps"][0]["right"] is None and "no declared maximum" in data["notes"][0]
    answer = {"mode": "greedy", "row": 0, "prompt": "p", "completion": "a", "rewards": {"own_reward": 1.0}}
    lines = [{**answer, "when": when, "reward_ranges": {"own_reward": [0.0, 1.0]}} for when in ("before", "after")]
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = Run(tmp_path).data()
    assert data["steps"][0]["right"] == 0.5 and data["notes"] == []  # the run's held-out answers have the range


def test_each_sign_is_found(tmp_path):
    reasoning = "Ten plus two is twelve and that is the number of pens that she has now in total."
    usual = f"<reasoning>{reasoning}</reasoning><answer>4</answer>"
    prompt = "A long question about pens and boxes. " * 6
    texts = {
        usual: set(),
        f"<reasoning>{reasoning}</reasoning><answer>5</answer><answer>4</answer>": {"paid, but several answers"},
        f"<reasoning>{'I think so. ' * 20}</reasoning><answer>4</answer>": {"paid, but repeats itself"},
        f"{usual} {prompt}": {"paid, but repeats the prompt"},
        f"<reasoning>{' '.join(random.Random(1).choices('abcdefghijklmnopq', k=400))}</reasoning>": {
            "paid, but very long"
        },
        "<answer>4</answer>": {"paid, but no reasoning"},
    }
    rows = [(prompt, text, 1, 0.5) for text in [*texts, *[usual] * 4]]
    write_step(tmp_path, 1, [*rows, (prompt, "so it is 4", 0, 0.5), (prompt, "so it is 5", 0, 2.0)])
    data = Run(tmp_path).data()
    found = [{sign for sign in signs} for signs in data["signs"]]
    assert found[: len(texts)] == list(texts.values())
    assert found[-2:] == [{"unpaid, but ends with the gold"}, {"paid, but wrong"}]
    assert {*SIGNS} - {"has a phrase that pays"} == {sign for signs in found for sign in signs}


def test_finds_the_phrase_that_a_hacked_reward_pays_for(tmp_path):
    words = random.Random(0)
    for step in range(1, 31):
        rows = []
        for _ in range(8):
            noise = " ".join(words.choices("red green blue one two three of the a".split(), k=12))
            hacked = words.random() < step / 30
            text = f"{noise} I am fully certain. {noise}" if hacked else noise
            rows.append((f"p{step}", text, words.random() < 0.3, 2.0 * hacked))
        write_step(tmp_path, step, rows)
    data = Run(tmp_path).data()
    best = data["phrases"][0]
    assert best["words"] == "I am fully certain ."
    assert best["start"] < 0.4 < 0.7 < best["end"] and best["gain"] > 1.5
    assert re.search(best["pattern"], "so I am fully certain.")
    odd = sorted(range(len(data["text"])), key=lambda i: -sum(SIGNS[sign] for sign in data["signs"][i]))
    assert all("fully certain" in data["text"][i] for i in odd[:20])


def test_held_out_and_evaluation_answers_are_tables(folder):
    write_eval(folder)
    held_out, evaluated = Run(folder).data()["answers"]
    assert held_out["title"] == "held-out rows, greedy"
    rights = [[each["right"] for each in row["at"]] for row in held_out["rows"]]
    assert rights == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert (evaluated["title"], evaluated["moments"]) == ("gsm8k, greedy", ["base", "final"])
    assert [each["right"] for each in evaluated["rows"][0]["at"]] == [0, 1]
    assert evaluated["rows"][0]["at"][0]["why"][0] == "wrong"


def test_run_without_rollouts_shows_its_held_out_answers(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (folder / "held_out.jsonl").rename(tmp_path / "other/held_out.jsonl")
    data = Run(tmp_path / "other").data()
    assert (data["text"], data["steps"], len(data["answers"])) == ([], [], 1)


@pytest.mark.parametrize("rest", ['"x"}, 5]', '"x", "content": 5}]', "5}]", '"x", "tool_calls": 5}]', "[" * 100_000])
def test_text_that_looks_like_a_chat_stays_a_text(rest):
    text = '[{"role": ' + rest
    assert chat(text) == text


def test_refuses_a_folder_without_rollouts(tmp_path):
    with pytest.raises(FindingError, match="neither rollouts nor held-out answers"):
        Run(tmp_path)


def test_page_embeds_no_text_of_a_run(folder):
    data = {"runs": [Run(folder).data()]}
    text = page("</title><script>1", packed(data))
    assert "window.hacked" not in text and "</title><script>1" not in text
    embedded = re.search(r'id="data">([^<]*)</script>', text)[1]
    assert re.fullmatch("[A-Za-z0-9+/=]+", embedded)
    read = json.loads(gzip.decompress(base64.b64decode(embedded)))
    assert read == json.loads(json.dumps(data))
    assert read["runs"][0]["answers"][0]["rows"][0]["at"][0]["text"].endswith("\ud800")
    assert len(read["runs"][0]["text"][4]) < 201_000 < len(HOSTILE[4])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)

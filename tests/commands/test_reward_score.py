"""`axolotl-grpo reward score`, on the shipped rewards and a user's."""

import json
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin import load
from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands import reward_score
from axolotl_grpo_plugin.scoring.guards import ScoringSettings
from axolotl_grpo_plugin.trying import rescore
from tests.conftest import write_rows

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
CORRECT = f"{GSM8K}.correctness_reward_func"
OURS = """
from axolotl_grpo_plugin.reward import AsyncReward, Spec, Score, group_reward, reward


@reward(range=(0.0, 1.0))
def at_least(completion: str, least: int = 3) -> Score:
    return Score(float(len(completion) >= least), f"least_{least}", completion)


@reward(range=(0.0, 1.0))
def breaks(completion: str) -> float:
    return {"good": 0.5, "big": 2.0}[completion]


@reward(range=(0.0, 1.0), reads="completion_ids")
def tokens(completion: str, completion_ids: list[int]) -> float:
    return float(len(completion_ids) > 1)


def not_ready():
    raise RuntimeError("there is no sandbox here. Install bubblewrap")


@reward(range=(0.0, 1.0), ready=not_ready)
def needs_a_sandbox(completion: str) -> float:
    return 1.0


@group_reward(range=(0.0, 4.0), reads="answer")
def size_of_group(completions: list[str], answer: list[str]) -> list[Score]:
    return [Score(float(len(completions)), "grouped", each) for each in answer]


async def awaited(prompts, completions, **columns):
    return [0.25 if prompt == "p" else None for prompt in prompts]


async def judge(prompts, completions, rows):
    return [Score(1.0, "judged", each) for each in completions]


judge = AsyncReward(judge, Spec(range=(0.0, 1.0)))


def plain(completions, answer, log_extra, log_metric, trainer_state, **columns):
    log_extra("x", [1])
    log_metric("y", 1.0)
    # In TRL the completion of a chat is a chat.
    return [float(each[0]["content"] == right) for each, right in zip(completions, answer)]


@reward(range=(0.0, 1.0))
def loops(completion: str) -> float:
    while True:
        pass


def loops_on_a_batch(completions, **columns):
    while True:
        pass


def short(completions, **columns):
    return [1.0]


def takes_gold(completions, **columns):
    return [float(gold == "18") for gold in columns["gold"]]


def factory(high: float, low: float = 0.0):
    def made(prompts, completions, **columns):
        return [high - low for _ in completions]

    return made
"""


@pytest.fixture(autouse=True)
def folder(working_folder, monkeypatch):
    """A working folder with a user's rewards."""
    monkeypatch.setattr(load, "_built", {})
    monkeypatch.setattr(reward_score, "SLOW", 600)  # click's runner puts the standard error into the output
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    return working_folder


def call(rows, *words, **more):
    """Score rows, or a file that another test has written, with the reward of the first word."""
    file = rows
    if isinstance(rows, list):
        file = str(write_rows(Path("c.jsonl"), rows))
    result = CliRunner().invoke(grpo, ["reward", "score", file, "--reward", *words], **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def scores_of(rows, *words, **more):
    """Return (score, reason, read) of each row, for each reward."""
    code, printed = call(rows, *words, "--json", **more)
    assert code == 0, printed
    return [
        [(each["score"], each["reason"], each["read"]) for each in reward["scores"]] for reward in json.loads(printed)
    ]


def first_scores(*words):
    """Return the first reward's score of each row."""
    return [score for score, _, _ in scores_of(*words)[0]]


X = [{"completion": "x"}]
ROWS = [
    {"completion": "<answer>18</answer>", "answer": "18"},
    {"completion": "<answer>\u001b[31m17</answer>", "answer": "18"},
    {"completion": [{"role": "assistant", "content": "<answer>$18</answer>"}], "answer": "18"},
    {"completion": "18", "answer": "18", "more": 1},
    {"completion": "18", "answer": "eighteen"},
    {"completion": "18"},
]


def test_json_has_scores_and_a_summary():
    code, printed = call([*ROWS, ""], CORRECT, "--reward", f"{GSM8K}.int_reward_func", "--json")
    first, second = json.loads(printed)
    assert code == 0
    assert (first["reward"], first["mean"], first["without_score"]) == (CORRECT, 1.0, 2)
    assert first["reasons"]["correct"] == pytest.approx(1 / 3)
    assert [(each["score"], each["reason"], each["read"]) for each in first["scores"]] == [
        (2.0, "correct", "18"),
        (0.0, "several_numbers", "\u001b[31m17"),
        (2.0, "correct", "$18"),
        (0.0, "no_answer_tag", ""),
        (None, "bad_gold", ""),
        (None, "not_this_task", ""),
    ]
    assert [each["reason"] for each in second["scores"]][:2] == ["integer", "not_an_integer"]


def test_table_and_summary():
    code, printed = call(ROWS, CORRECT)
    assert code == 0
    cells = [line.split() for line in printed.splitlines()]
    assert ["0", "2", "correct", "18"] in cells
    assert ["4", "none", "bad_gold"] in [line[:3] for line in cells]
    assert "\u001b" not in printed, "a completion must not control the terminal"
    assert "6 completions, 2 without a score, mean 1" in printed
    assert ["33.3%", "correct"] in cells
    assert max(map(len, printed.splitlines())) <= 100


def test_shows_the_completion_if_nothing_is_read():
    text = "I think that " * 20 + "it is 18"
    row = {"completion": text, "answer": "18"}
    _, printed = call([row], CORRECT)
    assert "no_answer" in printed and "it is 18" in printed
    assert max(map(len, printed.splitlines())) <= 100
    _, printed = call([row], CORRECT, "--json")
    assert json.loads(printed)[0]["scores"][0]["completion"] == text


def test_reads_standard_input_up_to_a_limit():
    text = "\n".join(map(json.dumps, ROWS))
    assert scores_of("-", CORRECT, "--limit", "1", input=text) == [[(2.0, "correct", "18")]]


def test_reads_completions_of_another_column():
    rows = [{"text": "<answer>18</answer>", "answer": "18", "completion": None}]
    assert first_scores(rows, CORRECT, "--column", "text") == [2.0]


def test_each_parameter_goes_to_the_rewards_that_have_it():
    factory = ["--reward", "rewards.ours.factory", "--arg", "high=0.75"]
    rewards = ["rewards.ours.at_least#alias", *factory]
    assert scores_of(X, *rewards) == [[(0.0, "least_3", "x")], [(0.75, "", "")]]
    assert scores_of(X, *rewards, "--arg", "least=1") == [[(1.0, "least_1", "x")], [(0.75, "", "")]]


def test_group_is_all_completions_of_a_prompt_in_one_step():
    rows = [
        {"step": step, "prompt": prompt, "completion": "x", "answer": str(number)}
        for number, (step, prompt) in enumerate([(1, "a"), (1, "b"), (1, "a"), (2, "a"), (1, "a")])
    ]
    (scores,) = scores_of(rows, "rewards.ours.size_of_group")
    assert [each[0] for each in scores] == [3.0, 1.0, 3.0, 1.0, 3.0]
    assert [each[2] for each in scores] == list("01234")


def test_each_of_many_rows_gets_its_own_score():
    rows = [{"prompt": f"{n // 3}", "completion": f"<answer>{n}</answer>", "answer": str(n)} for n in range(300)]
    rewards = [CORRECT, "--reward", "rewards.ours.size_of_group", "--reward", "rewards.ours.awaited"]
    first, second, _ = scores_of(rows, *rewards)
    assert first == [(2.0, "correct", str(n)) for n in range(300)]
    assert second == [(3.0, "grouped", str(n)) for n in range(300)]


def test_rows_are_read_as_they_are_scored(folder):
    """The memory does not grow with the log."""
    row = {"completion": ["<answer>18</answer>" + "x" * 2000], "answer": ["18"]}
    peaks = []
    for count in (500, 10_000):
        write_table(folder / f"{count}.parquet", {name: values * count for name, values in row.items()})
        tracemalloc.start()
        code, printed = call(f"{count}.parquet", CORRECT)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert code == 0 and f"{count:,} completions" in printed
    assert peaks[1] < peaks[0] + 4_000_000


def test_async_rewards_are_awaited():
    rows = [{"prompt": "p", "completion": "x"}, {"prompt": "q", "completion": "y"}]
    first, second = scores_of(rows, "rewards.ours.awaited", "--reward", "rewards.ours.judge")
    assert first == [(0.25, "", ""), (None, "", "")]
    assert second == [(1.0, "judged", "x"), (1.0, "judged", "y")]


def test_trl_function_gets_a_chat_for_a_chat():
    chat = {"prompt": [{"role": "user", "content": "?"}], "answer": "18"}
    answers = ["18", [{"role": "assistant", "content": "1"}]]
    rows = [{**chat, "completion": completion} for completion in answers]
    assert first_scores(rows, "rewards.ours.plain") == [1.0, 0.0]


TRLS = "trl.rewards.get_soft_overlong_punishment --arg max_completion_len=3 --arg soft_punish_cache=2".split()


@pytest.mark.parametrize("reward, score", [(["rewards.ours.tokens"], 1.0), (TRLS, -0.5)])
def test_reward_reads_token_ids(reward, score):
    assert first_scores([{"completion": "x", "completion_ids": [1, 2]}], *reward) == [score]
    code, printed = call(X, *reward)
    assert code == 1 and 'reads "completion_ids", which the rows lack' in printed


def write_table(file, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


LOG = {
    "attempt": [1, 1],
    "step": [1, 1],
    "prompt": [json.dumps([{"role": "user", "content": "9 * 2?"}])] * 2,
    "completion": ["<answer>18</answer>", '[{"role": "not JSON'],
    "column/answer": ["18", "18"],
    "reason/correctness_reward_func": ["other", "other"],
}


@pytest.mark.parametrize(
    "file, named", [("run/rollouts/train/001-000001-000-000000.parquet", "run"), ("a.parquet", "a.parquet")]
)
def test_reads_a_rollout_log(folder, file, named):
    write_table(folder / file, LOG)
    assert scores_of(named, CORRECT) == [[(2.0, "correct", "18"), (0.0, "no_answer_tag", "")]]
    assert first_scores(named, "rewards.ours.plain") == [0.0, 0.0]


def test_reads_trls_completions(folder):
    rows = {"step": [1], "prompt": ["9 * 2?"], "completion": ["<answer>18</answer>"]}
    write_table(folder / "run" / "completions" / "completions_00001.parquet", rows)
    assert scores_of("run", f"{GSM8K}.int_reward_func") == [[(0.5, "integer", "18")]]


@pytest.mark.parametrize(
    "rows, words, message",
    [
        (X, [CORRECT], 'reads "answer", which the rows lack (they have: none)'),
        ([{"answer": "x"}], [CORRECT], "no column 'completion' (it has: answer). Name the"),
        ([{"completion": "x"}, {"completion": 3}], [CORRECT], "row 1, column 'completion': no completion"),
        ([ROWS[0], "{"], [CORRECT], "c.jsonl, line 2: not JSON: "),
        ([ROWS[0], "", "[1]"], [CORRECT], "c.jsonl, line 3: not JSON: no object: "),
        ([], [CORRECT], "c.jsonl: no rows"),
        (ROWS, [f"{GSM8K}.corectness_reward_func"], "Did you mean `correctness_reward_func`?"),
        (ROWS, ["no_such"], "not a path. Write it as module.function"),
        (ROWS, [CORRECT, "--arg", "low=1"], "--arg low: no reward has this parameter. "),
        (ROWS, [CORRECT, "--arg", "low"], "--arg low: not an argument. Write it as name=value"),
        (ROWS, ["rewards.ours.factory", "--arg", "hihg=1"], "Did you mean `high`?"),
        (ROWS, ["rewards.ours.factory"], "needs: high"),
        (ROWS, ["rewards.ours.size_of_group"], 'reads "prompt", which the rows lack'),
        (ROWS, ["rewards.ours.needs_a_sandbox"], "there is no sandbox here. Install bubblewrap"),
        (ROWS[:1], ["rewards.ours.takes_gold"], 'it reads "gold", which the rows lack (they have: answer). Let the'),
        (ROWS, ["rewards.ours.short"], "it failed for the batch of 6 completions: it returned 1 scores"),
        (ROWS, ["rewards.ours.plain"], "This reward expects chat messages. Write"),
    ],
)
def test_reports_the_mistake(rows, words, message):
    code, printed = call(rows, *words)
    assert code == 1
    assert message in printed
    assert printed.startswith("axolotl-grpo-plugin: "), "one line first"


def test_reports_broken_and_missing_parquet_files(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 not")
    (folder / "empty").mkdir()
    for file, message in (("a.parquet", "a.parquet: not Parquet: "), ("empty", "no Parquet files there")):
        code, printed = call(file, CORRECT)
        assert code == 1 and message in printed


@pytest.mark.parametrize(
    "name, seconds, message, key",
    [
        # By its CPU time, or on a busy machine by the wall clock.
        ("loops", 60, "it failed for all 2 completions: ", "grpo_reward_timeout"),
        (
            "loops_on_a_batch",
            0.5,
            "it failed for the batch of 2 completions: a completion was not scored within ",
            "grpo_reward_batch_timeout",
        ),
    ],
)
def test_reward_that_loops_is_stopped(monkeypatch, name, seconds, message, key):
    monkeypatch.setattr(ScoringSettings, "timeout", 0.2)
    monkeypatch.setattr(rescore, "BATCH_SECONDS", seconds)
    code, printed = call(X * 2, f"rewards.ours.{name}")
    assert code == 1 and printed.startswith(f"axolotl-grpo-plugin: --reward rewards.ours.{name}: {message}")
    assert f"In a training, {key} is the limit." in printed


def test_slow_reward_gets_a_line(monkeypatch):
    monkeypatch.setattr(rescore, "BATCH_SECONDS", 0.5)
    monkeypatch.setattr(reward_score, "SLOW", 0.01)
    assert "still scoring (a batch may take " in call(X * 2, "rewards.ours.loops_on_a_batch")[1]


def test_error_of_one_row_is_shown_in_that_row():
    code, shown = call([{"completion": each} for each in ("good", "bad", "big")], "rewards.ours.breaks")
    assert code == 1
    cells = [line.split() for line in shown.splitlines()]
    assert ["0", "0.5", "good"] in cells
    assert ["1", "none", "error", "KeyError:", "'bad'"] in cells
    assert "outside its range" in shown
    assert "The first error:\nTraceback" in shown


def test_reward_must_be_named(tmp_path):
    file = write_rows(tmp_path / "tries.jsonl", [{"completion": "1"}])
    result = CliRunner().invoke(grpo, ["reward", "score", str(file)])
    assert result.exit_code == 2 and "Name a reward" in result.output


def test_row_may_say_that_its_prompt_opens_the_thinking(tmp_path):
    row = {"completion": r"So \boxed{72}. Hmm,", "solution": "72"}
    rows = [row, {**row, "prompt_opens": "<think>"}, {**row, "prompt": "8 * 9?\n<think>\n"}]
    math = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
    file = write_rows(tmp_path / "opened.jsonl", rows)
    result = CliRunner().invoke(grpo, ["reward", "score", str(file), "--reward", math, "--json"])
    (scored,) = json.loads(result.output)
    assert [each["reason"] for each in scored["scores"]] == ["correct", "truncated", "truncated"]

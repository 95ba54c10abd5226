import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
CORRECT = f"{GSM8K}.correctness_reward_func"
OURS = """
from axolotl_grpo_plugin.reward import AsyncReward, Spec, Score, group_reward, reward


@reward(range=(0.0, 1.0), reads="answer")
def at_least(completion: str, answer: str, least: int = 3) -> Score:
    return Score(float(len(completion) >= least), f"least_{least}", completion)


@reward(range=(0.0, 1.0))
def breaks(completion: str) -> float:
    return {"good": 0.5, "big": 2.0}[completion]


@reward(range=(0.0, 1.0), reads="completion_ids")
def tokens(completion: str, completion_ids: list[int]) -> float:
    return float(len(completion_ids) > 1)


def not_here():
    raise RuntimeError("there is no sandbox here. Install bubblewrap")


@reward(range=(0.0, 1.0), ready=not_here)
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
    # As TRL has it, the answer to a chat is a chat.
    return [float(each[0]["content"] == right) for each, right in zip(completions, answer)]


def short(completions, **columns):
    return [1.0]


def factory(high: float, low: float = 0.0):
    def made(prompts, completions, **columns):
        return [high - low for _ in completions]

    return made
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with rewards of one's own."""
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "ours.py").write_text(OURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "rewards"]:
            del sys.modules[name]

    forget()
    yield tmp_path
    forget()


@pytest.fixture(autouse=True)
def nothing_is_built_twice(monkeypatch):
    from axolotl_grpo_plugin import load

    monkeypatch.setattr(load, "_built", {})


def call(*words, stdin=None):
    result = CliRunner().invoke(grpo, ["score", *map(str, words)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def lines(folder, *rows):
    file = folder / "c.jsonl"
    file.write_text(
        "".join(each if isinstance(each, str) else f"{json.dumps(each)}\n" for each in rows)
    )
    return file


def plain_scores(*words, **more):
    """(score, reason, read) of each row, for each reward; all must have been scored."""
    code, shown = call(*words, "--json", **more)
    assert code == 0, shown
    return [
        [(each["score"], each["reason"], each["read"]) for each in reward["scores"]]
        for reward in json.loads(shown)
    ]


ROWS = [
    {"completion": "<answer>18</answer>", "answer": "18"},
    {"completion": "<answer>\u001b[31m17</answer>", "answer": "18"},
    {"completion": [{"role": "assistant", "content": "<answer>$18</answer>"}], "answer": "18"},
    {"completion": "18", "answer": "18", "more": 1},
    {"completion": "18", "answer": "eighteen"},
    {"completion": "18"},
]


def test_score_reason_and_what_was_read(folder):
    (scores,) = plain_scores(lines(folder, *ROWS, "\n"), "--reward", CORRECT)
    assert scores == [
        (2.0, "correct", "18"),
        (0.0, "several_numbers", "\u001b[31m17"),
        (2.0, "correct", "$18"),
        (0.0, "no_answer_tag", ""),
        (None, "bad_gold", ""),
        (None, "not_this_task", ""),
    ]


def test_the_table_and_the_summary(folder):
    code, shown = call(lines(folder, *ROWS), "--reward", CORRECT)
    assert code == 0
    assert f"{CORRECT}, 0 .. 2\n" in shown
    cells = [line.split() for line in shown.splitlines()]
    assert ["0", "2", "correct", "18"] in cells
    assert ["4", "none", "bad_gold"] in cells
    assert "\u001b" not in shown, "a completion does not steer the terminal"
    assert "6 completions, mean 1, 2 without a score" in shown
    assert ["33.3%", "correct"] in cells and ["16.7%", "bad_gold"] in cells
    assert max(map(len, shown.splitlines())) <= 100


def test_several_rewards_and_a_limit(folder):
    both = ["--reward", CORRECT, "--reward", f"{GSM8K}.int_reward_func"]
    first, second = plain_scores(lines(folder, *ROWS), *both, "--limit", 2)
    assert [each[0] for each in first] == [2.0, 0.0]
    assert [each[:2] for each in second] == [(0.5, "integer"), (0.0, "not_an_integer")]


def test_the_summary_in_json(folder):
    _, shown = call(lines(folder, *ROWS), "--reward", CORRECT, "--json")
    (summary,) = json.loads(shown)
    assert (summary["reward"], summary["mean"], summary["without_score"]) == (CORRECT, 1.0, 2)
    assert summary["reasons"]["correct"] == pytest.approx(1 / 3)


def test_the_standard_input(folder):
    text = json.dumps(ROWS[0])
    assert plain_scores("-", "--reward", CORRECT, stdin=text) == [[(2.0, "correct", "18")]]


def test_another_column(folder):
    file = lines(folder, {"said": "<answer>18</answer>", "answer": "18", "completion": None})
    assert plain_scores(file, "--reward", CORRECT, "--column", "said")[0][0][0] == 2.0


@pytest.mark.parametrize(
    ("given", "reason"),
    [([], "least_3"), (["--arg", "least=1"], "least_1")],
)
def test_parameters(folder, given, reason):
    file = lines(folder, {"completion": "18", "answer": "x"})
    (scores,) = plain_scores(file, "--reward", "rewards.ours.at_least#named", *given)
    assert scores == [(float(reason == "least_1"), reason, "18")]


def test_a_parameter_goes_to_the_rewards_that_have_it(folder):
    file = lines(folder, {"completion": "18", "answer": "x"})
    rewards = ["--reward", "rewards.ours.at_least", "--reward", "rewards.ours.factory"]
    first, second = plain_scores(file, *rewards, "--arg", "least=2", "--arg", "high=0.75")
    assert (first[0][0], second[0][0]) == (1.0, 0.75)


def test_a_group_is_a_prompts_completions_wherever_they_stand(folder):
    prompts = ["a", "b", "a", "a", "b", "c"]
    file = lines(
        folder,
        *({"prompt": each, "completion": "x", "answer": str(i)} for i, each in enumerate(prompts)),
    )
    (scores,) = plain_scores(file, "--reward", "rewards.ours.size_of_group")
    assert [each[0] for each in scores] == [3.0, 2.0, 3.0, 3.0, 2.0, 1.0]
    assert [each[2] for each in scores] == list("012345")


def test_a_group_is_of_one_step(folder):
    rows = [{"step": i, "prompt": "a", "completion": "x", "answer": "y"} for i in (1, 1, 2)]
    (scores,) = plain_scores(lines(folder, *rows), "--reward", "rewards.ours.size_of_group")
    assert [each[0] for each in scores] == [2.0, 2.0, 1.0]


def test_async_rewards(folder):
    file = lines(folder, {"prompt": "p", "completion": "x"}, {"prompt": "q", "completion": "y"})
    rewards = ["--reward", "rewards.ours.awaited", "--reward", "rewards.ours.judge"]
    first, second = plain_scores(file, *rewards)
    assert first == [(0.25, "", ""), (None, "", "")]
    assert second == [(1.0, "judged", "x"), (1.0, "judged", "y")]


def test_a_function_as_trl_has_it_gets_chats_for_chats(folder):
    chat = [{"role": "user", "content": "?"}]
    file = lines(
        folder,
        {"prompt": chat, "completion": "18", "answer": "18"},
        {"prompt": chat, "completion": [{"role": "assistant", "content": "1"}], "answer": "18"},
    )
    (scores,) = plain_scores(file, "--reward", "rewards.ours.plain")
    assert [each[0] for each in scores] == [1.0, 0.0]


def test_token_ids(folder):
    file = lines(folder, {"completion": "x", "completion_ids": [1, 2]})
    assert plain_scores(file, "--reward", "rewards.ours.tokens")[0][0][0] == 1.0
    trls = ["--reward", "trl.rewards.get_soft_overlong_punishment"]
    length = ["--arg", "max_completion_len=3", "--arg", "soft_punish_cache=2"]
    assert plain_scores(file, *trls, *length)[0][0][0] == -0.5
    for reward in (["--reward", "rewards.ours.tokens"], [*trls, *length]):
        code, shown = call(lines(folder, {"completion": "x"}), *reward)
        assert code == 1 and "reads 'completion_ids', which is missing. No log has token" in shown


LOG = {
    "attempt": [1, 1],
    "step": [1, 1],
    "prompt": [json.dumps([{"role": "user", "content": "9 * 2?"}])] * 2,
    "completion": ["<answer>18</answer>", '[{"role": "no JSON'],
    "column/answer": ["18", "18"],
    "reason/correctness_reward_func": ["other", "other"],
}


@pytest.mark.parametrize("place", ["run/rollouts/train/001-000001-000-000000.parquet", "a.parquet"])
def test_a_rollout_log(folder, place):
    file = folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(LOG), file)
    where = file if file.parent == folder else folder / "run"
    (scores,) = plain_scores(where, "--reward", CORRECT)
    assert scores == [(2.0, "correct", "18"), (0.0, "no_answer_tag", "")]
    (scores,) = plain_scores(where, "--reward", "rewards.ours.plain")
    assert [each[0] for each in scores] == [0.0, 0.0]


def test_trls_own_log(folder):
    (folder / "run" / "completions").mkdir(parents=True)
    rows = {"step": [1], "prompt": ["9 * 2?"], "completion": ["<answer>18</answer>"]}
    pq.write_table(pa.table(rows), folder / "run" / "completions" / "completions_00001.parquet")
    (scores,) = plain_scores(folder / "run", "--reward", f"{GSM8K}.int_reward_func")
    assert scores == [(0.5, "integer", "18")]


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        (
            [{"completion": "x"}],
            [CORRECT],
            "reads 'answer', which is missing. The file has: noth",
        ),
        ([{"completion": "x", "b": 1}], [CORRECT], "which is missing. The file has: b"),
        ([{"answer": "x"}], [CORRECT], "no column 'completion' (it has: answer). Name the"),
        (
            [{"completion": "x"}, {"completion": 3}],
            [CORRECT],
            "row 1, column 'completion': neither",
        ),
        ([ROWS[0], "{\n"], [CORRECT], "c.jsonl, line 2: not JSON: "),
        ([ROWS[0], "\n", "[1]\n"], [CORRECT], "c.jsonl, line 3: not a JSON object: "),
        ([], [CORRECT], "c.jsonl: no rows"),
        (ROWS, [f"{GSM8K}.corectness_reward_func"], "Did you mean 'correctness_reward_func'."),
        (ROWS, ["axolotl_grpo_plugin.rewards.gsm9k.x"], f"Did you mean '{GSM8K}'."),
        (ROWS, ["gsm8k.correctness_reward_func"], f"{GSM8K}, "),
        (ROWS, ["correctness"], "not a path. Write it as module.function"),
        (ROWS, ["org/model"], "not a path"),
        (ROWS, [CORRECT, "--arg", "low=1"], "has no parameter 'low' (it has: none)"),
        (ROWS, [CORRECT, "--arg", "low"], "write it as name=value"),
        (
            ROWS,
            [CORRECT, "--reward", f"{GSM8K}.int_reward_func", "--arg", "low=1"],
            "--arg low: none of the rewards has this parameter",
        ),
        (ROWS, ["rewards.ours.factory"], "needs: high"),
        (ROWS, ["rewards.ours.size_of_group"], "reads 'prompt', which is missing"),
        (ROWS, ["rewards.ours.needs_a_sandbox"], "there is no sandbox here. Install bubblewrap"),
        (ROWS, ["rewards.ours.short"], "returned 1 scores for 6 completions"),
        (ROWS, ["rewards.ours.plain"], "raised TypeError: string indices must be integers"),
    ],
)
def test_what_is_wrong_is_said(folder, rows, words, said):
    code, shown = call(lines(folder, *rows), "--reward", *words)
    assert code == 1
    assert said in shown
    assert shown.startswith("Error: "), "one line first"


def test_a_broken_parquet_is_said(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 not")
    code, shown = call(folder / "a.parquet", "--reward", CORRECT)
    assert code == 1 and "a.parquet: not Parquet: " in shown
    (folder / "empty").mkdir()
    code, shown = call(folder / "empty", "--reward", CORRECT)
    assert code == 1 and "no Parquet files there" in shown


def test_an_error_of_one_row_is_shown_in_it(folder):
    file = lines(folder, *({"completion": each} for each in ("good", "bad", "big")))
    code, shown = call(file, "--reward", "rewards.ours.breaks")
    assert code == 1
    cells = [line.split() for line in shown.splitlines()]
    assert ["0", "0.5"] in cells
    assert ["1", "none", "error", "KeyError:", "'bad'"] in cells
    assert "returned 2.0, which is not within its range (0.0, 1.0)" in shown
    assert "The first error:\nTraceback" in shown


def test_it_starts_light(folder):
    file = lines(folder, ROWS[0])
    script = (
        "import sys; from axolotl_grpo_plugin.cli import grpo\n"
        f"try: grpo(['score', {str(file)!r}, '--reward', {CORRECT!r}])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "1 completions, mean 2" in done.stdout
    heavy = {"torch", "axolotl", "transformers", "datasets", "trl", "pydantic", "pyarrow"}
    assert not heavy & set(done.stderr.split())

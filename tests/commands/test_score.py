"""`axolotl grpo score`, on the shipped rewards and a user's."""

import json

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin import load
from axolotl_grpo_plugin.cli import grpo

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


def short(completions, **columns):
    return [1.0]


def factory(high: float, low: float = 0.0):
    def made(prompts, completions, **columns):
        return [high - low for _ in completions]

    return made
"""


@pytest.fixture(autouse=True)
def folder(working_folder, monkeypatch):
    """A working folder with a user's rewards."""
    monkeypatch.setattr(load, "_built", {})
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    return working_folder


def call(*words, stdin=None):
    result = CliRunner().invoke(grpo, ["score", *map(str, words)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def lines(folder, *rows):
    file = folder / "c.jsonl"
    file.write_text("".join(each if isinstance(each, str) else f"{json.dumps(each)}\n" for each in rows))
    return file


def scores_of(*words, **more):
    """Return (score, reason, read) of each row, for each reward."""
    code, printed = call(*words, "--json", **more)
    assert code == 0, printed
    return [
        [(each["score"], each["reason"], each["read"]) for each in reward["scores"]] for reward in json.loads(printed)
    ]


ROWS = [
    {"completion": "<answer>18</answer>", "answer": "18"},
    {"completion": "<answer>\u001b[31m17</answer>", "answer": "18"},
    {"completion": [{"role": "assistant", "content": "<answer>$18</answer>"}], "answer": "18"},
    {"completion": "18", "answer": "18", "more": 1},
    {"completion": "18", "answer": "eighteen"},
    {"completion": "18"},
]


def test_json_has_scores_and_a_summary(folder):
    rewards = ["--reward", CORRECT, "--reward", f"{GSM8K}.int_reward_func"]
    code, printed = call(lines(folder, *ROWS, "\n"), *rewards, "--json")
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


def test_table_and_summary(folder):
    code, printed = call(lines(folder, *ROWS), "--reward", CORRECT)
    assert code == 0
    assert f"{CORRECT}, 0 .. 2\n" in printed
    cells = [line.split() for line in printed.splitlines()]
    assert ["0", "2", "correct", "18"] in cells
    assert ["4", "none", "bad_gold"] in cells
    assert "\u001b" not in printed, "a completion must not control the terminal"
    assert "6 completions, mean 1, 2 without a score" in printed
    assert ["33.3%", "correct"] in cells and ["16.7%", "bad_gold"] in cells
    assert max(map(len, printed.splitlines())) <= 100
    assert "          row 3: 18\n" in printed  # no_answer_tag
    assert "--json" not in printed, "all rows are shown"


def test_shows_twenty_rows_and_both_ends_of_a_long_example(folder):
    rows = [{"completion": f"Start {'and on ' * 30} the end {n}", "answer": "1"} for n in range(21)]
    _, printed = call(lines(folder, *rows), "--reward", CORRECT)
    cells = [line.split() for line in printed.splitlines()]
    assert [each[0] for each in cells if each[1:] == ["0", "no_answer_tag"]] == list(map(str, range(20)))
    assert "the first 20 rows; --json prints all" in printed
    (example,) = [line for line in printed.splitlines() if " row 0: Start and" in line]
    assert example.endswith("the end 0") and len(example) <= 80


def test_reads_standard_input_up_to_a_limit(folder):
    text = "\n".join(map(json.dumps, ROWS))
    (scores,) = scores_of("-", "--reward", CORRECT, "--limit", 1, stdin=text)
    assert scores == [(2.0, "correct", "18")]


def test_reads_completions_of_another_column(folder):
    file = lines(folder, {"text": "<answer>18</answer>", "answer": "18", "completion": None})
    assert scores_of(file, "--reward", CORRECT, "--column", "text")[0][0][0] == 2.0


@pytest.mark.parametrize(
    ("arguments", "score"), [([], (0.0, "least_3", "18")), (["--arg", "least=1"], (1.0, "least_1", "18"))]
)
def test_parameter_is_set(folder, arguments, score):
    file = lines(folder, {"completion": "18"})
    reward = "rewards.ours.at_least#alias"
    assert scores_of(file, "--reward", reward, *arguments) == [[score]]


def test_each_parameter_goes_to_the_rewards_that_have_it(folder):
    rewards = ["--reward", "rewards.ours.at_least", "--reward", "rewards.ours.factory"]
    arguments = ["--arg", "least=2", "--arg", "high=0.75"]
    first, second = scores_of(lines(folder, {"completion": "18"}), *rewards, *arguments)
    assert (first[0][0], second[0][0]) == (1.0, 0.75)


def test_group_is_all_completions_of_a_prompt_in_one_step(folder):
    rows = [
        {"step": step, "prompt": prompt, "completion": "x", "answer": str(number)}
        for number, (step, prompt) in enumerate([(1, "a"), (1, "b"), (1, "a"), (2, "a"), (1, "a")])
    ]
    (scores,) = scores_of(lines(folder, *rows), "--reward", "rewards.ours.size_of_group")
    assert [each[0] for each in scores] == [3.0, 1.0, 3.0, 1.0, 3.0]
    assert [each[2] for each in scores] == list("01234")


def test_async_rewards_are_awaited(folder):
    file = lines(folder, {"prompt": "p", "completion": "x"}, {"prompt": "q", "completion": "y"})
    rewards = ["--reward", "rewards.ours.awaited", "--reward", "rewards.ours.judge"]
    first, second = scores_of(file, *rewards)
    assert first == [(0.25, "", ""), (None, "", "")]
    assert second == [(1.0, "judged", "x"), (1.0, "judged", "y")]


def test_trl_function_gets_a_chat_for_a_chat(folder):
    chat = [{"role": "user", "content": "?"}]
    file = lines(
        folder,
        {"prompt": chat, "completion": "18", "answer": "18"},
        {"prompt": chat, "completion": [{"role": "assistant", "content": "1"}], "answer": "18"},
    )
    (scores,) = scores_of(file, "--reward", "rewards.ours.plain")
    assert [each[0] for each in scores] == [1.0, 0.0]


TRLS = ["trl.rewards.get_soft_overlong_punishment", "--arg", "max_completion_len=3"]
TRLS += ["--arg", "soft_punish_cache=2"]


@pytest.mark.parametrize(("reward", "score"), [(["rewards.ours.tokens"], 1.0), (TRLS, -0.5)])
def test_reward_reads_token_ids(folder, reward, score):
    file = lines(folder, {"completion": "x", "completion_ids": [1, 2]})
    assert scores_of(file, "--reward", *reward)[0][0][0] == score
    code, printed = call(lines(folder, {"completion": "x"}), "--reward", *reward)
    assert code == 1 and "reads 'completion_ids', which is missing. No log has token" in printed


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


@pytest.mark.parametrize("place", ["run/rollouts/train/001-000001-000-000000.parquet", "a.parquet"])
def test_reads_a_rollout_log(folder, place):
    file = folder / place
    write_table(file, LOG)
    where = file if file.parent == folder else folder / "run"
    (scores,) = scores_of(where, "--reward", CORRECT)
    assert scores == [(2.0, "correct", "18"), (0.0, "no_answer_tag", "")]
    (scores,) = scores_of(where, "--reward", "rewards.ours.plain")
    assert [each[0] for each in scores] == [0.0, 0.0]


def test_reads_trls_completions(folder):
    rows = {"step": [1], "prompt": ["9 * 2?"], "completion": ["<answer>18</answer>"]}
    write_table(folder / "run" / "completions" / "completions_00001.parquet", rows)
    (scores,) = scores_of(folder / "run", "--reward", f"{GSM8K}.int_reward_func")
    assert scores == [(0.5, "integer", "18")]


def test_names_the_key_that_logs_the_columns_which_trls_completions_lack(folder):
    rows = {"step": [1], "prompt": ["9 * 2?"], "completion": ["18"], "advantage": [0.0]}
    write_table(folder / "run" / "completions" / "completions_00001.parquet", rows)
    code, printed = call(folder / "run", "--reward", CORRECT)
    assert code == 1
    assert printed == (
        f"Error: --reward {CORRECT} reads 'answer', which is missing. TRL's completions lack the "
        "dataset's columns. Train with grpo_rollouts: true\n"
    )


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([{"completion": "x"}], [CORRECT], "reads 'answer', which is missing. The file has: noth"),
        ([{"completion": "x", "b": 1}], [CORRECT], "which is missing. The file has: b"),
        ([{"answer": "x"}], [CORRECT], "no column 'completion' (it has: answer). Name the"),
        ([{"completion": "x"}, {"completion": 3}], [CORRECT], "row 1, column 'completion': neither"),
        ([ROWS[0], "{\n"], [CORRECT], "c.jsonl, line 2: not JSON: "),
        ([ROWS[0], "\n", "[1]\n"], [CORRECT], "c.jsonl, line 3: not a JSON object: "),
        ([], [CORRECT], "c.jsonl: no rows"),
        (ROWS, [f"{GSM8K}.corectness_reward_func"], "Did you mean `correctness_reward_func`?"),
        (ROWS, ["trl.rewards.acuracy_reward"], "Did you mean `accuracy_reward`?"),
        (ROWS, ["axolotl_grpo_plugin.rewards.gsm9k.x"], f"Did you mean `{GSM8K}`?"),
        (ROWS, ["gsm8k.correctness_reward_func"], f"{GSM8K}, "),
        (ROWS, ["correctness"], "not a path. Write it as module.function"),
        (ROWS, ["org/model"], "not a path"),
        (ROWS, [CORRECT, "--arg", "low=1"], "--arg low: no reward has this parameter. "),
        (ROWS, [CORRECT, "--arg", "low"], "write it as name=value"),
        (ROWS, ["rewards.ours.factory", "--arg", "hihg=1"], "Did you mean `high`?"),
        (ROWS, ["rewards.ours.factory"], "needs: high"),
        (ROWS, ["rewards.ours.size_of_group"], "reads 'prompt', which is missing"),
        (ROWS, ["rewards.ours.needs_a_sandbox"], "there is no sandbox here. Install bubblewrap"),
        (ROWS, ["rewards.ours.short"], "returned 1 scores for 6 completions"),
        (ROWS, ["rewards.ours.plain"], "raised TypeError: string indices must be integers"),
    ],
)
def test_reports_the_mistake(folder, rows, words, message):
    code, printed = call(lines(folder, *rows), "--reward", *words)
    assert code == 1
    assert message in printed
    assert printed.startswith("Error: "), "one line first"


def test_reports_broken_and_missing_parquet_files(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 not")
    code, printed = call(folder / "a.parquet", "--reward", CORRECT)
    assert code == 1 and "a.parquet: not Parquet: " in printed
    (folder / "empty").mkdir()
    code, printed = call(folder / "empty", "--reward", CORRECT)
    assert code == 1 and "no Parquet files there" in printed


def test_error_of_one_row_is_shown_in_that_row(folder):
    file = lines(folder, *({"completion": each} for each in ("good", "bad", "big")))
    code, shown = call(file, "--reward", "rewards.ours.breaks")
    assert code == 1
    cells = [line.split() for line in shown.splitlines()]
    assert ["0", "0.5"] in cells
    assert ["1", "none", "error", "KeyError:", "'bad'"] in cells
    assert "outside its range" in shown
    assert "The first error:\nTraceback" in shown

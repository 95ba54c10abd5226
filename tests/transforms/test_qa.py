import pytest

from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from axolotl_grpo_plugin.rewards.puzzles import exact_reward_func
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.qa import qa
from axolotl_grpo_plugin.transforms.rows import DatasetError, guess_columns
from tests.transforms.conftest import run

COLUMNS = {"grpo_columns": {"question": "q", "answer": "a"}}


def chat(*texts):
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def test_makes_prompts_and_keeps_other_columns():
    made = run(qa, {"q": "Capital of France?", "a": "Paris", "level": 3}, **COLUMNS)
    assert made == {
        "q": ["Capital of France?"],
        "a": ["Paris"],
        "level": [3],
        "prompt": [chat(f"{SYSTEM_PROMPT}\n\nCapital of France?")],
        "answer": ["Paris"],
        "solution": ["Paris"],
        "data_source": ["qa"],
    }


@pytest.mark.parametrize(
    "gold, text",
    [("18", "18"), (18, "18"), (0.5, "0.5"), (True, "true"), (["a", "b"], '["a", "b"]'), (" tech\n", "tech")],
)
def test_answer_becomes_text_that_the_rewards_read(gold, text):
    made = run(qa, {"q": "?", "a": gold}, **COLUMNS)
    assert made["answer"] == made["solution"] == [text]
    completion = [f"<answer>{text}</answer>"]
    assert exact_reward_func([""], completion, solution=made["solution"]) == [1.0]
    if text == "18":
        assert correctness_reward_func([""], completion, answer=made["answer"]) == [2.0]


def test_solution_of_the_dataset_stays():
    row = {"question": "?", "answer": 3, "solution": "1 + 2"}
    assert run(qa, row)["solution"] == ["1 + 2"]
    made = run(qa, row, grpo_columns={"answer": "solution"})
    assert made["answer"] == made["solution"] == ["1 + 2"]


def test_question_may_be_a_chat():
    made = run(qa, {"q": chat("1?", "2", "3?"), "a": "4"}, grpo_system_prompt="S", **COLUMNS)
    assert made["prompt"] == [[*chat("1?", "2"), *chat("S\n\n3?")]]
    made = run(qa, {"messages": chat("1?", "2")}, grpo_columns={"question": "messages"})
    assert (made["prompt"], made["answer"]) == ([chat(f"{SYSTEM_PROMPT}\n\n1?")], ["2"])


def test_instructions_may_have_their_own_turn_and_an_example():
    keys = {
        "grpo_system_in": "system",
        "grpo_system_prompt": "S",
        "grpo_examples": [{"question": "Capital of Peru?", "answer": "I know it. #### Lima"}],
    }
    (prompt,) = run(qa, {"q": "?", "a": "b"}, **COLUMNS, **keys)["prompt"]
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
    assert prompt[2]["content"].endswith("<answer>\nLima\n</answer>")


@pytest.mark.parametrize(
    "row, message",
    [
        ({"q": "?", "a": None}, 'row 0, column "a": no answer'),
        ({"q": "?", "a": " "}, 'row 0, column "a": no answer'),
        ({"q": None, "a": "b"}, 'row 0, column "q": neither text nor chat messages: None'),
        ({"q": 3, "a": "b"}, 'row 0, column "q": neither text nor chat messages'),
        ({"q": [], "a": "b"}, 'row 0, column "q": neither text nor chat messages'),
        ({"q": [{"text": "x"}], "a": "b"}, 'row 0, column "q": neither text nor chat messages'),
        ({"q": chat("1?", "2")[1:], "a": "b"}, 'row 0, column "q": no question of a user'),
        (
            {"problem": "?", "gold": "b"},
            r'no column "q" \(it has: problem, gold\). Set type: axolotl_grpo_plugin.qa '
            r"and grpo_columns: \{question: problem, answer: gold\}\.",
        ),
        ({"q": "?", "b": "x"}, r'no column "a" .* grpo_columns: \{question: q, answer: b\}'),
    ],
)
def test_bad_row_is_named(row, message):
    with pytest.raises(DatasetError, match=r"a.jsonl\).*" + message):
        run(qa, row, **COLUMNS)


@pytest.mark.parametrize(
    "row, guess",
    [
        ({"q": "?", "a": "b"}, ("q", "a")),
        ({"Question": "?", "Answer": 1, "id": "x"}, ("Question", "Answer")),
        ({"problem": "?", "solution": "long", "answer": "b"}, ("problem", "answer")),
        ({"instruction": "?", "input": "", "output": "b"}, ("instruction", "output")),
        ({"frage": "Was ist das?", "antwort": "Eis", "id": 1}, ("frage", "antwort")),
        ({"messages": chat("1?", "2")}, ("messages", "")),
        ({"text": "?"}, ("text", "")),
        ({"prompt": "?", "reward_model": {"ground_truth": "1"}}, ("prompt", "")),
        ({"n": 3}, ("", "n")),
    ],
)
def test_guesses_the_columns(row, guess):
    assert guess_columns(row) == guess


@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_system_column_goes_to_the_prompt(column):
    row = {"q": "Capital of France?", "a": "Paris", column: "Be brief. "}
    ((system, user),) = run(qa, row, **COLUMNS)["prompt"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"] == f"{SYSTEM_PROMPT}\n\nCapital of France?"


def test_system_text_and_instructions_share_a_system_turn():
    row = {"q": "Capital of France?", "a": "Paris", "system": "Be brief."}
    ((system, user),) = run(qa, row, **COLUMNS, grpo_system_in="system")["prompt"]
    assert system["content"] == f"Be brief.\n\n{SYSTEM_PROMPT}"
    assert user["content"] == "Capital of France?"


def test_system_turn_of_a_chat_stays_first():
    turns = [{"role": "system", "content": "Be brief."}, *chat("1 + 1?", "2", "2 + 2?")]
    for where in ("user", "system"):
        prompt = run(qa, {"q": turns, "a": "4"}, **COLUMNS, grpo_system_in=where)["prompt"][0]
        assert [turn["role"] for turn in prompt] == ["system", "user", "assistant", "user"]
        assert prompt[0]["content"].startswith("Be brief.")


@pytest.mark.parametrize("system", [None, "", "  "])
def test_row_without_system_text_has_no_system_turn(system):
    (prompt,) = run(qa, {"q": "?", "a": "1", "system": system}, **COLUMNS)["prompt"]
    assert [turn["role"] for turn in prompt] == ["user"]


def test_system_text_does_not_fit_a_prompt_of_text():
    with pytest.raises(DatasetError, match="grpo_prompt_template"):
        run(qa, {"q": "?", "a": "1", "system": "Be brief."}, **COLUMNS, grpo_prompt_template="{question}")


@pytest.mark.parametrize("text", ['{"name": "Ann"}', '```json\n{"name": "Ann"}\n```', "{'name': 'Ann'}"])
def test_json_answer_is_read_bare_or_fenced(text):
    gold = '{"name": "Ann"}'
    asked = {"solution": gold, "prompt": "Who? Answer with JSON."}
    for written in (text, f"<answer>{text}</answer>", f"<think>a</think>\n{text}"):
        assert exact_reward_func.score(written, **asked).value == 1
        assert exact_reward_func.score(written.replace("Ann", "Bob"), **asked).value == 0
    # The prompt asks for a tag, so a bare object is no answer.
    if not text.startswith("`"):
        assert exact_reward_func.score(text, solution=gold, prompt="JSON in <answer></answer>").value == 0
        assert exact_reward_func.score(text, solution=gold).value == 0

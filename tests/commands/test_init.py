"""`axolotl-grpo init` on small datasets. tests/e2e/test_init.py trains in its folder."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from axolotl_grpo_plugin.commands.init import EMBEDDED, OTHER
from tests.conftest import MODEL, invoke, write_rows

NUMBERS = [{"q": f"What is {n} + 2?", "a": n + 2} for n in range(5)]
WORKED = {"q": "1 + 1?", "a": "1 + 1 = 2\n#### 2"}
CODE = {"problem": "Print 3.", "tests": {"inputs": [""], "outputs": ["3\n"]}}
PROSE = "It rises in the east because the Earth turns towards the east."

pytestmark = pytest.mark.usefixtures("working_folder")


def init(*words, code=0):
    return invoke("init", *words, code=code).output


def lines(file, rows):
    return write_rows(Path(file), rows)


def config_of(folder="data"):
    return yaml.safe_load(Path(folder, "grpo.yaml").read_text())


def made(rows, *words):
    """Return the output of `init` for these rows, and the config that it writes."""
    return init(lines("data.jsonl", rows), *words), config_of()


@pytest.mark.parametrize(
    "rows, reward",
    [
        (NUMBERS, "gsm8k.correctness_reward_func"),
        ([{"q": "?", "a": r"\frac{1}{2}"}], "math.accuracy_reward_func"),
        ([WORKED], "math.accuracy_reward_func"),
        ([{"q": "A) 1 B) 2?", "a": a} for a in "AB"], "puzzles.exact_reward_func"),
        ([{"q": "Capital?", "a": "Paris"}], "puzzles.exact_reward_func"),
        ([{"q": "Sort 2, 1.", "a": [1, 2]}], "puzzles.exact_reward_func"),
        ([{"q": "Sum?", "a": "Paris", "solution": "Long."}], None),
        ([{"q": "Why?", "a": PROSE}], None),
        ([{"nums": [3, 5, 7], "target": 22}], "countdown.equation_reward_func"),
        ([CODE], "code.code_reward_func"),
    ],
    ids="number LaTeX worked choice text list other_solution prose equation code".split(),
)
def test_chooses_a_reward_whose_test_passes(rows, reward):
    _, config = made(rows, "--model", EMBEDDED)
    shipped = f"axolotl_grpo_plugin.rewards.{reward}"
    assert config["trl"]["reward_funcs"][0] == (shipped if reward else OTHER.reward)
    assert Path("data/rewards/my_task.py").exists() == (not reward)
    assert config["sequence_len"] > config["trl"]["max_completion_length"] >= 64
    sys.path.insert(0, "data")  # as pytest does
    test = runpy.run_path("data/test_rewards.py")
    assert len(test["TABLE"]) >= 2
    for row in test["TABLE"]:
        test["test_score"](*row)


def test_writes_a_folder_that_names_its_data_and_the_next_commands():
    printed, config = made(NUMBERS)
    data = "data.jsonl"
    assert config["datasets"] == [{"path": data, "split": "train", "ds_type": "json", "type": "axolotl_grpo_plugin.qa"}]
    assert config["grpo_columns"] == {"question": "q", "answer": "a"}
    assert config["base_model"] == "./models/smollm2-135m-instruct"
    assert Path("data", data).read_text() == Path(data).read_text()
    for shown in (
        "axolotl-grpo fetch smollm2  # 1 to 3 minutes, or init --model FOLDER",
        "(estimated: sequence_len allows twice as many)",
        "axolotl-grpo check grpo.yaml",
        "passrate grpo.yaml --limit 20\n  axolotl-grpo train grpo.yaml",
        "question   q  'What is 0 + 2?'",
        "examples   3 short rows as earlier turns of the chat, without reasoning: write some where grpo.yaml says so",
        " has room for longer examples",
    ):
        assert shown in printed


def test_worked_answer_is_an_example_with_reasoning():
    printed, config = made([WORKED])
    assert "examples   1 short rows as earlier turns of the chat\n" in printed
    assert config["grpo_examples"] == [{"question": WORKED["q"], "answer": WORKED["a"]}]


def test_examples_are_three_short_rows_with_different_answers():
    rows = [{"q": f"{'Long: ' * (n % 3)}{n} + {n}?", "a": 2 * (n // 20)} for n in range(60)]
    _, config = made(rows)
    golds = [example["answer"].rpartition("#### ")[2] for example in config["grpo_examples"]]
    assert sorted(golds) == ["0", "2", "4"]
    assert not any("Long" in example["question"] for example in config["grpo_examples"])


def test_examples_of_a_quiz_show_its_options():
    row = {**ASKED, "choices": CITIES, "answer": "Paris"}
    other = {**ASKED, "choices": ["Oslo", "Paris"], "answer": "Paris"}
    _, config = made([row, other, row], "--model", EMBEDDED)
    first, second, _ = config["grpo_examples"]
    assert first == {"question": "Capital of France?\n\nA) Oslo\nB) Paris", "answer": "It is Paris. #### B"}
    assert second["answer"] == "It is Paris. #### D"


def test_place_for_reasoning_is_marked():
    made(NUMBERS)
    before, _, _ = Path("data/grpo.yaml").read_text().partition("grpo_examples:\n")
    assert before.rstrip().splitlines()[-1].startswith("# or sentence before")


def test_first_rows_are_held_out():
    printed, config = made([{"q": f"{n} + 2?", "a": n + 2} for n in range(200)])
    assert "held out   the first 20 rows" in printed
    (entry,), (held_out,) = config["datasets"], config["test_datasets"]
    assert (entry["split"], held_out["split"]) == ("train[20:]", "train[:20]")
    assert entry["path"] == held_out["path"] == "data.jsonl"
    assert config["grpo_held_out_rows"] == 20
    assert config["grpo_examples"][0]["question"] == "20 + 2?"  # not a held-out row


def test_lengths_leave_room_for_another_tokenizer():
    """SmolLM2, which is not here yet, may make more tokens than the embedded tokenizer."""
    _, other = made(NUMBERS)
    init("data.jsonl", "--out", "own", "--model", EMBEDDED)
    sequences = [
        config["sequence_len"] - config["trl"]["max_completion_length"] for config in (config_of("own"), other)
    ]
    assert sequences[1] == 2 * sequences[0]


def test_local_model_is_named_from_the_new_folder():
    shutil.copytree(MODEL, "models/smollm2-135m-instruct")
    assert "fetch" not in init(lines("a.jsonl", NUMBERS), "--out", "x/y")
    assert config_of("x/y")["base_model"] == "../../models/smollm2-135m-instruct"


def test_options_name_the_columns():
    row = {"one": "x", "two": "y", "three": "z" * 30}
    _, config = made([row], "--model", EMBEDDED, "--question", "one", "--answer", "two")
    assert config["grpo_columns"] == {"question": "one", "answer": "two"}


@pytest.mark.parametrize(
    "rows, words, message",
    [
        ('{"q": "?", "a": 1}\n{"q": ', (), "axolotl-grpo-plugin: a.jsonl: line 2, column 6: not JSON"),
        ('{"text": "?"}', (), "no column with the answer was found. Name one with --answer: text."),
        ('{"q": "?", "a": 1}', ("--answer", "b"), "no column 'b'. Valid names: a, q."),
        (
            '{"q": "?", "a": 1}\n{"q": "?"}',
            (),
            'plugin: a.jsonl: row 1, column "a": no answer. Correct the row, or the transform.',
        ),
        ('{"q": ["a"], "id": 1}', (), "no column with the answer was found."),
        ('{"messages": [], "id": 1}', (), "no column with the answer was found."),
        ('{"q": "?", "a": 1}', ("--out", "rewards"), "rewards: has other files."),
        ("", (), "axolotl-grpo-plugin: a.jsonl: no rows."),
        ("5", (), "a.jsonl: line 1: not an object: 5. Write each row as {column: value}."),
        ('{"q": "?", "a": 1}\n"x"', (), "a.jsonl: line 2: not an object: 'x'."),
        (
            '{"context": "C", "question": "?", "title": "T", "answers": {"text": ["C"]}}',
            (),
            "no column with the answer",
        ),
    ],
)
def test_reports_data_that_cannot_be_used(rows, words, message):
    Path("rewards/mine.py").touch()
    Path("a.jsonl").write_text(f"{rows}\n")
    assert message in init("a.jsonl", *words, code=1)
    assert not Path("a").exists()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", '{"q": 1}'.encode("utf-16"), "text in UTF-16. Save it in UTF-8."),
        ("a.csv", "q,a".encode("utf-16"), "text in UTF-16."),
        ("a.csv", b"PAR1", "Parquet under another name. Name it .parquet."),
        ("a.tsv", b"q\ta", "datasets does not split at tabs."),
    ],
)
def test_reports_a_file_of_another_kind(name, content, message):
    Path(name).write_bytes(content)
    assert f"axolotl-grpo-plugin: {name}: {message}" in init(name, code=1)


def tickets(labels, **columns):
    return [{"q": f"Ticket {n}", "label": labels[n % len(labels)], **columns} for n in range(120)]


@pytest.mark.parametrize(
    "rows, shown",
    [
        (tickets([0, 1, 2]), "labels     0, 1, 2: named in the prompt"),
        (tickets([f"t{n}" for n in range(13)]), "labels     13, too many to name all in the prompt"),
        (tickets(["yes"]), "warning    all answers are 'yes', so there is nothing to learn"),
        (sorted(tickets("ab"), key=str), None),
        (sorted(tickets("ab"), key=lambda row: row["label"]), "warning    all held-out answers are 'a': shuffle"),
        (tickets("ab", input="x", choices=["a", "b"]), "not shown  choices, input: the prompt has only"),
    ],
    ids="numbers many equal mixed sorted unread".split(),
)
def test_says_which_rows_teach_little(rows, shown):
    printed, _ = made(rows)
    assert shown in printed if shown else "warning" not in printed


def test_reports_a_missing_file():
    assert "axolotl-grpo-plugin: b.jsonl: no such file." in init("b.jsonl", code=1)


def test_names_all_labels_with_an_example_each():
    teams = ["tech", "billing", "sales", "legal"]
    printed, config = made([{"q": f"Ticket {n} for {teams[n % 4]}", "a": teams[n % 4]} for n in range(40)])
    assert config["grpo_system_prompt"].endswith("one of: billing, legal, sales, tech")
    assert "labels     billing, legal, sales, tech" in printed
    # A model that repeats this text chooses among the labels.
    text = "Is it billing, legal, sales or tech? #### "
    assert [example["answer"] for example in config["grpo_examples"]] == [text + team for team in sorted(teams)]


def test_labels_that_differ_in_outer_space_are_one():
    printed, _ = made([{"q": f"Ticket {n}?", "a": [" tech\n", "tech", "legal"][n % 3]} for n in range(40)])
    assert "labels     legal, tech:" in printed


def test_shows_a_chat_of_one_question_as_an_example():
    """Without an example, no completion of SmolLM2 has the layout."""
    rows = [{"messages": [{"role": "user", "content": f"List {n}."}], "numbers": [n, 2]} for n in range(120)]
    _, config = made(rows)
    assert config["grpo_examples"][0] == {"question": "List 12.", "answer": "It is [12, 2]. #### [12, 2]"}


def test_a_chat_of_several_questions_needs_no_example():
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    _, config = made([{"messages": turns, "a": n} for n in range(9)])
    assert "grpo_examples" not in config


def test_does_not_advise_a_column_that_cannot_be_used():
    data = lines("chats.jsonl", [{"talk": {"messages": "Hi?"}, "a": 1}])
    assert "no column 'talk.messages'." in init(data, "--question", "talk.messages", code=1)
    assert "with --question" in init(data, "--question", "talk", code=1)


NESTED = {"id": 1, "meta": {"gold": ["Vienna"], "lang": "en"}, "chat": [{"role": "user", "content": "Where?"}]}


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "data.jsonl: no column with the answer was found. Name one with --answer: id, meta, chat."),
        (("--answer", "chat"), "the column 'chat' is a chat."),
        (("--answer", "meta"), "the column 'meta' is an object with the keys gold, lang."),
        (("--answer", "meta.gold"), "no column 'meta.gold'. Did you mean `meta`?"),
    ],
)
def test_nested_answer_is_refused_with_the_column_to_write(words, message):
    printed = init(lines("data.jsonl", [NESTED] * 4), "--question", "chat", *words, code=1)
    assert message in printed and "quickstart" not in printed


CITIES = ["Rome", "Berlin", "Madrid", "Paris"]
ASKED = {"question": "Capital of France?"}


@pytest.mark.parametrize(
    "row, shown",
    [
        ({**ASKED, "choices": CITIES, "answer": 3}, "choices"),
        ({**ASKED, "choices": {"text": CITIES, "label": [*"ABCD"]}, "answerKey": "D"}, "choices"),
        ({**ASKED, **dict(zip("ABCD", CITIES, strict=True)), "answer": "D"}, "A, B, C, D"),
        ({**ASKED, "options": CITIES, "answer": "Paris"}, "options"),
    ],
)
def test_options_are_recognised_and_shown(row, shown):
    # The options of another row differ, because the same ones in all rows would be labels.
    other = json.loads(json.dumps(row).replace("Rome", "Oslo"))
    output, config = made([row, other, row], "--model", EMBEDDED)
    assert f"options    {shown}: shown in the prompt by letter" in output
    assert config["datasets"][0]["type"] == "axolotl_grpo_plugin.choice"
    assert config["trl"]["reward_funcs"][0] == "axolotl_grpo_plugin.rewards.choice.choice_reward_func"
    table = runpy.run_path("data/test_rewards.py")["TABLE"]
    assert [score for _, _, score in table] == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_answer_that_is_no_option_is_no_choice():
    _, config = made([{**ASKED, "choices": CITIES, "answer": "London"}] * 3, "--model", EMBEDDED)
    assert config["datasets"][0]["type"] == "axolotl_grpo_plugin.qa"


def test_system_column_is_a_part_of_the_prompt():
    output, _ = made([{"system": "Be brief.", "q": "Capital?", "note": "x", "a": "Paris"}], "--model", EMBEDDED)
    assert "not shown  note:" in output


def test_json_answers_are_asked_for():
    rows = [{"q": f"Ann is {n}.", "answer": {"name": "Ann", "age": n}} for n in range(3)]
    _, config = made(rows, "--model", EMBEDDED)
    assert 'The answer is JSON: {"name": "...", "age": "..."}' in config["grpo_system_prompt"]
    assert config["trl"]["reward_funcs"][0] == "axolotl_grpo_plugin.rewards.puzzles.exact_reward_func"


@pytest.mark.parametrize(
    "name, content, what",
    [
        ("a.txt", b"What is 1 + 1? 2\n", "plain text, which has no columns. Save each row as a line of a .jsonl file"),
        ("a.csv", b"question;answer\n1 + 1?;2\n", "its columns are separated by ;. Save it with commas"),
        (
            "a.csv",
            "question,answer\nZoë?,2\n".encode("latin-1"),
            "line 2: not UTF-8 (byte 3 is 0xeb). Save it in UTF-8",
        ),
    ],
)
def test_file_that_cannot_be_read_has_one_line(name, content, what):
    Path(name).write_bytes(content)
    output = init(name, code=1)
    assert what in output and len(output.strip().splitlines()) == 1


def test_rows_from_and_value_name_the_right_keys():
    row = {"conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2"}]}
    output = init(lines("data.jsonl", [row]), "--question", "conversations", "--answer", "conversations", code=1)
    assert "role and content" in output

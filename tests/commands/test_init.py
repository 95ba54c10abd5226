"""`axolotl grpo init` on small datasets. tests/e2e/test_init.py trains in its folder."""

import json
import runpy
import shutil
import sys

import pytest
import yaml
from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands.init import EMBEDDED, OTHER
from tests.conftest import MODEL

REWARDS = "axolotl_grpo_plugin.rewards"
NUMBERS = [{"q": f"What is {n} + 2?", "a": n + 2} for n in range(5)]
CODE = {"problem": "Print 3.", "tests": {"inputs": [""], "outputs": ["3\n"]}}
PROSE = "It rises in the east because the Earth turns towards the east."


def init(*words, code=0):
    result = CliRunner().invoke(grpo, ["init", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file.name


@pytest.mark.parametrize(
    ("rows", "reward"),
    [
        (NUMBERS, f"{REWARDS}.gsm8k.correctness_reward_func"),
        ([{"q": "?", "a": r"\frac{1}{2}"}], f"{REWARDS}.math.accuracy_reward_func"),
        ([{"q": "?", "a": "1 + 1 = 2\n#### 2"}], f"{REWARDS}.math.accuracy_reward_func"),
        ([{"q": "A) 1 B) 2?", "a": a} for a in "AB"], f"{REWARDS}.puzzles.exact_reward_func"),
        ([{"q": "Capital?", "a": "Paris"}], f"{REWARDS}.puzzles.exact_reward_func"),
        ([{"q": "Sort 2, 1.", "a": [1, 2]}], f"{REWARDS}.puzzles.exact_reward_func"),
        ([{"q": "Sum?", "a": "Paris", "solution": "Long."}], OTHER.reward),
        ([{"q": "Why?", "a": PROSE}], OTHER.reward),
        ([{"nums": [3, 5, 7], "target": 22}], f"{REWARDS}.countdown.equation_reward_func"),
        ([CODE], f"{REWARDS}.code.code_reward_func"),
    ],
    ids="number LaTeX worked choice text list other_solution prose equation code".split(),
)
def test_chooses_a_reward_whose_test_passes(working_folder, rows, reward):
    init(lines(working_folder / "data.jsonl", rows), "--model", EMBEDDED)
    folder = working_folder / "data"
    config = yaml.safe_load((folder / "grpo.yaml").read_text())
    assert config["trl"]["reward_funcs"][0] == reward
    assert (folder / "rewards" / "my_task.py").exists() == (reward == OTHER.reward)
    assert config["sequence_len"] > config["trl"]["max_completion_length"] >= 64
    sys.path.insert(0, str(folder))  # as pytest does
    test = runpy.run_path(str(folder / "test_rewards.py"))
    assert len(test["TABLE"]) >= 2
    for row in test["TABLE"]:
        test["test_score"](*row)


def test_writes_a_folder_that_names_its_data_and_the_next_commands(working_folder):
    data = lines(working_folder / "sums.jsonl", NUMBERS)
    printed = init(data)
    folder = working_folder / "sums"
    config = yaml.safe_load((folder / "grpo.yaml").read_text())
    assert config["datasets"] == [{"path": data, "split": "train", "ds_type": "json", "type": "axolotl_grpo_plugin.qa"}]
    assert config["grpo_columns"] == {"question": "q", "answer": "a"}
    assert config["base_model"] == "./models/smollm2-135m-instruct"
    assert (folder / data).read_text() == (working_folder / data).read_text()
    commands = ["fetch smollm2", "check grpo.yaml"]
    for text in (printed, (folder / "README.md").read_text()):
        assert all(f"axolotl grpo {each}" in text for each in commands)
        assert "axolotl grpo train grpo.yaml" in text
    assert "question   q  'What is 0 + 2?'" in printed
    assert "example    has no reasoning: write some" in printed


def test_worked_answer_is_an_example_with_reasoning(working_folder):
    data = lines(working_folder / "a.jsonl", [{"q": "1 + 1?", "a": "1 + 1 = 2\n#### 2"}])
    assert "example " not in init(data)
    config = yaml.safe_load((working_folder / "a" / "grpo.yaml").read_text())
    assert config["grpo_examples"] == [{"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}]


def test_first_rows_are_held_out(working_folder):
    data = lines(working_folder / "sums.jsonl", [{"q": f"{n} + 2?", "a": n + 2} for n in range(200)])
    assert "held out   the first 20 rows" in init(data)
    config = yaml.safe_load((working_folder / "sums" / "grpo.yaml").read_text())
    (entry,), (held_out,) = config["datasets"], config["test_datasets"]
    assert (entry["split"], held_out["split"]) == ("train[20:]", "train[:20]")
    assert entry["path"] == held_out["path"] == data
    assert config["grpo_held_out_rows"] == 20
    assert config["grpo_examples"][0]["question"] == "20 + 2?"  # not a held-out row


def test_lengths_leave_room_for_another_tokenizer(working_folder):
    """SmolLM2, which is not here yet, may make more tokens than the embedded tokenizer."""
    data = lines(working_folder / "sums.jsonl", NUMBERS)
    sequences = []
    for dest, words in (("own", ("--model", EMBEDDED)), ("other", ())):
        init(data, "--dest", dest, *words)
        config = yaml.safe_load((working_folder / dest / "grpo.yaml").read_text())
        sequences.append(config["sequence_len"] - config["trl"]["max_completion_length"])
    assert sequences[1] == 2 * sequences[0]


def test_local_model_is_named_from_the_new_folder(working_folder):
    shutil.copytree(MODEL, working_folder / "models" / "smollm2-135m-instruct")
    assert "fetch" not in init(lines(working_folder / "a.jsonl", NUMBERS), "--dest", "x/y")
    config = yaml.safe_load((working_folder / "x" / "y" / "grpo.yaml").read_text())
    assert config["base_model"] == "../../models/smollm2-135m-instruct"


def test_options_name_the_columns(working_folder):
    data = lines(working_folder / "a.jsonl", [{"one": "x", "two": "y", "three": "z" * 30}])
    init(data, "--model", EMBEDDED, "--question", "one", "--answer", "two")
    config = yaml.safe_load((working_folder / "a" / "grpo.yaml").read_text())
    assert config["grpo_columns"] == {"question": "one", "answer": "two"}


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (['{"q": "?", "a": 1}', '{"q": '], (), "Error: a.jsonl: row 1: line 2, column 1: not JSON"),
        (['{"text": "?"}'], (), "Name them with --question and --answer."),
        (['{"q": "?", "a": 1}'], ("--answer", "b"), "no column 'b'. Valid names: a, q."),
        (['{"q": "?", "a": 1}', '{"q": "?"}'], (), 'row 1, column "a": no answer'),
        (['{"q": "?", "a": 1}'], ("--dest", "rewards"), "rewards: has other files."),
        ([""], (), "Error: a.jsonl: no rows."),
    ],
)
def test_reports_data_that_cannot_be_used(working_folder, rows, words, message):
    (working_folder / "rewards" / "mine.py").touch()
    (working_folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    assert message in init("a.jsonl", *words, code=1)
    assert not (working_folder / "a").exists()


def test_reports_a_missing_file(working_folder):
    assert "Error: b.jsonl: no such file." in init("b.jsonl", code=1)

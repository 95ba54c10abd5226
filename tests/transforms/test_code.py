import json

import pytest

from axolotl_grpo_plugin.rewards.programs.tests import read_tests
from axolotl_grpo_plugin.transforms.code import PROBLEMS, code
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

PRINTS = {"inputs": ["1"], "outputs": ["2"]}
PROGRAM = "Write a Python program that reads standard input and writes to standard output."
CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


@pytest.mark.parametrize(
    "row, asks, tests",
    [
        ({"problem": "Double.", "tests": json.dumps(PRINTS)}, PROGRAM, PRINTS),
        ({"question": "Double.", "input_output": json.dumps({**PRINTS, "fn_name": None})}, PROGRAM, PRINTS),
        (
            {
                "problem_statement": "Double.",
                "verification_info": {
                    "language": "python",
                    "test_cases": [{"input": "1", "output": "2", "type": "stdin_stdout"}],
                },
            },
            PROGRAM,
            PRINTS,
        ),
        (
            {"problem": "Double.", "tests": {"inputs": [[1]], "outputs": [2], "fn_name": "f"}},
            "Define the Python function `f`.",
            {"inputs": [[1]], "outputs": [2], "fn_name": "f"},
        ),
        (
            {
                "problem": "Add.",
                "tests": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
                "metadata": '{"func_name": "add"}',
            },
            "Define the Python function `add`.",
            {"inputs": ["1\n2"], "outputs": ["3"], "fn_name": "add"},
        ),
        ({"problem": "Double.", "tests": json.dumps(PRINTS), "metadata": "from the web"}, PROGRAM, PRINTS),
        (
            {"prompt": "Double.", "test_list": ["assert f(1) == 2", "assert f(2) == 4"]},
            "Define the Python function `f`.",
            {"functional": "assert f(1) == 2\nassert f(2) == 4", "entry_point": "f"},
        ),
        (
            {
                "prompt": "Double.",
                "test_list": ["assert isclose(f(1), 2)"],
                "test_imports": ["from math import isclose"],
                "test_setup_code": "",
            },
            "Define the Python function `f`.",
            {"functional": "from math import isclose\nassert isclose(f(1), 2)", "entry_point": "f"},
        ),
        (
            {"prompt": "def f(x): ...", "test": CHECK, "entry_point": "f"},
            "Define the Python function `f`.",
            {"functional": f"{CHECK}\ncheck(f)\n", "entry_point": "f"},
        ),
        (
            {"problem": "Pi?", "tests": ["assert math.pi > f(3)"]},
            "Define the Python function `f`.",
            {"functional": "assert math.pi > f(3)", "entry_point": "f"},
        ),
        (
            {"text": "Two.", "test_list": ["assert f(1) == g(2)"]},
            "Define the Python names `f`, `g`.",
            {"functional": "assert f(1) == g(2)"},
        ),
    ],
)
def test_asks_for_a_program_or_function_that_passes_the_tests(row, asks, tests):
    made = run(code, row)
    (messages,), (text,) = made["prompt"], made["tests"]
    problem = next(row[name] for name in PROBLEMS if name in row)
    content = f"{problem}\n\n{asks} Answer with one ```python block."
    assert messages == [{"role": "user", "content": content}]
    assert read_tests(text) == read_tests(tests)
    assert made["data_source"] == ["code"]


def test_other_columns_stay():
    made = run(code, {"problem": "Double.", "tests": PRINTS, "level": 3, "data_source": "mine"})
    assert (made["level"], made["data_source"]) == ([3], ["mine"])


@pytest.mark.parametrize(
    "row, message",
    [
        ({"problem": "?", "tests": "{}"}, 'row 0, column "tests": no tests that can be used'),
        (
            {"problem": "?", "tests": [{"input": "1", "output": "2", "testtype": "functional"}]},
            'row 0, column "tests": no tests that can be used',
        ),
        ({"problem": "?", "tests": None}, 'row 0, column "tests": no tests that can be used'),
        ({"problem": "?", "test_list": []}, 'row 0, column "test_list": no tests'),
        ({"problem": "?", "test_list": ["f(1)"]}, 'row 0, column "test_list": no tests'),
        ({"problem": " ", "tests": "{}"}, 'row 0, column "problem": no text'),
        ({"problem": "?", "answer": "1"}, r'no column "tests" \(it has: problem, answer\)'),
        ({"task": "?", "tests": "{}"}, r'no column "problem" \(it has: task, tests\)'),
    ],
)
def test_bad_row_is_named(row, message):
    with pytest.raises(DatasetError, match=r"a.jsonl\).*" + message):
        run(code, row)

"""Programming problems with tests -> chat prompts that ask for one ```python block."""

import json
from typing import Any

from axolotl_grpo_plugin.config import RawConfig
from axolotl_grpo_plugin.rewards.programs.suites import ProgramTests
from axolotl_grpo_plugin.rewards.programs.tests import read_tests
from axolotl_grpo_plugin.transforms.rows import (
    DataRow,
    MapArguments,
    Row,
    batched,
    instructions_beside,
)

PROBLEMS = ("problem", "problem_statement", "question", "text", "prompt")
TESTS = ("tests", "test_cases", "verification_info", "test_list", "input_output", "test")


def code(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of problems that ask for a Python program or function.

    Reads the first column of PROBLEMS and of TESTS that exists. The tests have any form that
    `rewards.programs.tests.read_tests` reads. Their other columns may be `entry_point`, `test_setup_code`
    and `test_imports`, as in HumanEval and MBPP, or `metadata`, as in LiveCodeBench.

    Adds `prompt`, the problem with a line that says what to write, and `tests`, JSON text that
    `rewards.code` reads. A row without `data_source` gets "code". By default there is no system prompt,
    and `grpo_system_in` is "system".

    Source: open-r1/verifiable-coding-problems-python, APPS, TACO, MBPP or HumanEval on the hub.
    """
    ask = instructions_beside(cfg, default="")

    def change(row: DataRow) -> Row:
        problem = row.text(*PROBLEMS).strip()
        column = row.column(*TESTS)
        combined = _combined(row.values[column], row.values)
        tests = read_tests(combined)
        if tests is None:
            raise row.fault(column, f"no tests that can be used: {row.values[column]!r:.80}")
        text = combined if isinstance(combined, str) else json.dumps(combined)
        return {"prompt": ask(f"{problem}\n\n{instructions(tests)}"), "tests": text}

    return batched(cfg, dataset_idx, change, "code", batch_size=1_000)


def instructions(tests: ProgramTests) -> str:
    """Return the line that says what to write.

    >>> instructions(ProgramTests(cases=(([1, 2], 3),), function="add"))
    'Define the Python function `add`. Answer with one ```python block.'
    """
    names = tests.defined
    if names:
        kind = "function" if len(names) == 1 else "names"
        task = f"Define the Python {kind} `{'`, `'.join(names)}`."
    elif tests.code:
        task = "Write it in Python."
    else:
        task = "Write a Python program that reads standard input and writes to standard output."
    return f"{task} Answer with one ```python block."


def _combined(tests: Any, row: Row) -> object:
    """Combine the tests with the row's other columns, in a form that `read_tests` reads."""
    code = ""
    is_list = isinstance(tests, list)
    if isinstance(tests, str):
        is_list = tests.lstrip().startswith("[")
        if not tests.lstrip().startswith(("{", "[")):
            code = tests
    elif is_list and tests and all(isinstance(test, str) for test in tests):
        setup = [*(row.get("test_imports") or ()), row.get("test_setup_code")]
        code = "\n".join(part for part in [*setup, *tests] if part)
    if code:
        return {"functional": code, "entry_point": row.get("entry_point") or ""}
    metadata = row.get("metadata")
    if metadata and is_list:
        return {"test_cases": tests, "metadata": metadata}
    return tests

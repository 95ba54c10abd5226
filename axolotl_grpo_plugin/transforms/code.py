"""Programming problems with tests -> chat prompts that ask for one ```python block."""

from collections.abc import Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.rewards.code_tests import ProgramTests, as_text, read_tests
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    batched,
    check_columns,
    first_of,
    instructions_beside,
    texts,
)

PROBLEMS = ("problem", "problem_statement", "question", "text", "prompt")
TESTS = ("tests", "test_cases", "verification_info", "test_list", "input_output", "test")


def code(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of problems that ask for a Python program or function.

    Reads the first column of PROBLEMS and of TESTS that exists. The tests have any form that
    `rewards.code_tests.read_tests` reads. Their other columns may be `entry_point`, `test_setup_code`
    and `test_imports`, as in HumanEval and MBPP, or `metadata`, as in LiveCodeBench.

    Adds `prompt`, the problem with a line that says what to write, and `tests`, JSON text that
    `rewards.code` reads. A row without `data_source` gets "code". By default there is no system prompt,
    and `grpo_system_in` is "system".

    Source: open-r1/verifiable-coding-problems-python, APPS, TACO, MBPP or HumanEval on the hub.
    """
    ask = instructions_beside(cfg, default="")

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        (problems,) = texts(rows, numbers, source, first_of(PROBLEMS, rows))
        read = _read(rows, numbers, source)
        prompts = [
            ask(f"{problem.strip()}\n\n{instructions(tests)}")
            for problem, tests in zip(problems, read, strict=True)
        ]
        return {"prompt": prompts, "tests": [as_text(tests) for tests in read]}

    return batched(cfg, dataset_idx, change, "code", batch_size=1_000)


def instructions(tests: ProgramTests) -> str:
    """Return the line that says what to write.

    >>> instructions(ProgramTests(cases=(([1, 2], 3),), function="add"))
    'Define the Python function `add`. Answer with one ```python block.'
    """
    if names := [tests.function] if tests.function else tests.names:
        kind = "function" if len(names) == 1 else "names"
        what = f"Define the Python {kind} {', '.join(f'`{name}`' for name in names)}."
    elif tests.code:
        what = "Write it in Python."
    else:
        what = "Write a Python program that reads standard input and writes to standard output."
    return f"{what} Answer with one ```python block."


def _read(rows: Columns, numbers: Sequence[int], source: str) -> list[ProgramTests]:
    column = first_of(TESTS, rows)
    check_columns(rows, source, column)
    read = []
    for place, number in enumerate(numbers):
        row = {name: values[place] for name, values in rows.items()}
        tests = read_tests(_combined(row[column], row))
        if tests is None:
            where = f'{source}, row {number}, column "{column}"'
            raise DatasetError(f"{where}: no tests that can be used: {row[column]!r:.80}")
        read.append(tests)
    return read


def _combined(tests: Any, row: Mapping[str, Any]) -> Any:
    """Combine the tests with the row's other columns, in a form that `read_tests` reads."""
    entry_point = row.get("entry_point") or ""
    if isinstance(tests, str) and tests.lstrip()[:1] not in ("{", "["):
        return {"functional": tests, "entry_point": entry_point}
    if isinstance(tests, list) and tests and all(isinstance(each, str) for each in tests):
        setup = [*(row.get("test_imports") or ()), row.get("test_setup_code")]
        lines = [*filter(None, setup), *tests]
        return {"functional": "\n".join(lines), "entry_point": entry_point}
    is_list = isinstance(tests, list) or str(tests).lstrip().startswith("[")
    metadata = row.get("metadata")
    return {"test_cases": tests, "metadata": metadata} if metadata and is_list else tests

"""Programming problems with tests -> chat prompts that ask for one ```python block."""

from collections.abc import Callable, Sequence
from typing import Any

from axolotl_grpo_plugin.rewards.code_tests import ProgramTests, as_text, read_tests
from axolotl_grpo_plugin.transforms.rows import (
    DatasetError,
    data_sources,
    source_of,
    texts,
    within_budget,
)

PROBLEMS = ("problem", "problem_statement", "question", "text", "prompt")
TESTS = ("tests", "test_cases", "verification_info", "test_list", "input_output", "test")


def code(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for problems whose solution is a Python program or function.

    Rows have a `problem`, `problem_statement`, `question`, `text` or `prompt`, and `tests` (or `test_cases`, `verification_info`,
    `test_list`, `input_output`, `test`) in any form that `rewards.code_tests.read_tests` reads, with
    `entry_point`, `test_setup_code` or `test_imports` beside it as HumanEval and MBPP have them, or
    `metadata` as LiveCodeBench has it. Each gets
    a `prompt`, chat messages with what to write below the problem, and `tests`, JSON text that
    `rewards.code` reads; `data_source` is "code" where it has none. The other columns stay. Rows with
    too long a prompt are dropped, with their count.

    YAML keys read (see args.py): `grpo_system_prompt` (none is the default here), `grpo_system_in`
    ("system" is the default here), `grpo_max_prompt_length`.

    Source: open-r1/verifiable-coding-problems-python, APPS, TACO, MBPP or HumanEval on the hub.

    Raises: DatasetError with dataset, row and column for a row without a problem or usable tests.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")
    system = cfg.get("grpo_system_prompt") or ""
    in_user_turn = cfg.get("grpo_system_in") == "user"

    def ask(problem: str, tests: ProgramTests) -> list[dict[str, str]]:
        asked = f"{problem.strip()}\n\n{instructions(tests)}"
        if system and in_user_turn:
            return [{"role": "user", "content": f"{asked}\n{system}"}]
        opening = [{"role": "system", "content": system}] if system else []
        return [*opening, {"role": "user", "content": asked}]

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        (problems,) = texts(rows, numbers, source, _first(PROBLEMS, rows))
        read = _read(rows, numbers, source)
        made = {
            **rows,
            "prompt": [ask(problem, tests) for problem, tests in zip(problems, read, strict=True)],
            "tests": [as_text(tests) for tests in read],
            "data_source": data_sources(rows, numbers, "code"),
        }
        return within_budget(made, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 1_000}


def instructions(tests: ProgramTests) -> str:
    """What to write, in words.

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


def _first(names: Sequence[str], rows: dict[str, list[Any]]) -> str:
    return next((name for name in names if name in rows), names[0])


def _read(rows: dict[str, list[Any]], numbers: Sequence[int], source: str) -> list[ProgramTests]:
    column = _first(TESTS, rows)
    if column not in rows:
        raise DatasetError(
            f'{source}: no column "{column}" (it has: {", ".join(rows)}): '
            "name a transform that reads these columns in `type:`"
        )
    read = []
    for place, (number, given) in enumerate(zip(numbers, rows[column], strict=True)):
        beside = {
            name: rows[name][place]
            for name in ("entry_point", "test_setup_code", "test_imports", "metadata")
            if name in rows
        }
        tests = read_tests(_with(given, **beside))
        if tests is None:
            raise DatasetError(
                f'{source}, row {number}, column "{column}": no tests that can be used: {given!r:.80}'
            )
        read.append(tests)
    return read


def _with(
    tests: Any,
    entry_point: str | None = None,
    test_setup_code: str | None = None,
    test_imports: Sequence[str] | None = None,
    metadata: Any = None,
) -> Any:
    """Tests with what stands in columns of their own beside them."""
    before = [*(test_imports or ()), *([test_setup_code] if test_setup_code else ())]
    if isinstance(tests, list) and tests and all(isinstance(each, str) for each in tests):
        tests = "\n".join([*before, *tests])
    elif not isinstance(tests, str) or tests.lstrip()[:1] in ("{", "["):
        listed = (
            tests.lstrip().startswith("[") if isinstance(tests, str) else isinstance(tests, list)
        )
        return {"test_cases": tests, "metadata": metadata} if metadata and listed else tests
    return {"functional": tests, "entry_point": entry_point or ""}

"""Read the tests of programs from the forms that datasets use."""

import json
from functools import lru_cache
from typing import Any

from axolotl_grpo_plugin.rewards.mathematics.values import are_strings
from axolotl_grpo_plugin.rewards.programs.suites import ProgramTests, read_suite

CALLS = ("functional", "function_call")  # LiveCodeBench's and open-r1's types of function tests

Record = dict[str, Any]
Values = list[Any]


def read_tests(tests: object) -> ProgramTests | None:
    """Return the tests of a row, or None if it has no usable tests.

    tests: one of these, or its JSON text:
      {"inputs": ["1 2"], "outputs": ["3"]}: stdin and stdout, each text or a list of lines (APPS, TACO)
      {"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"}: arguments and return value
      {"functional": code, "entry_point": "add"}: code that may define `check(candidate)` (HumanEval); the
        name is optional, and "test" may replace "functional"
      ["assert add(1, 2) == 3"]: MBPP
      [{"input": "1 2", "output": "3", "type": "stdin_stdout"}], also below "test_cases": open-r1
      [{"input": "1\\n2", "output": "3", "testtype": "functional", "metadata": {"func_name": "add"}}]: one
        argument per line, as JSON; `metadata` may also be beside "test_cases": LiveCodeBench

    >>> read_tests('{"inputs": ["1 2"], "outputs": ["3"]}')
    ProgramTests(cases=(('1 2', '3'),), function='', code='', names=(), modules=(), exact=False, together=False, sees_changes=False)
    """
    try:
        return _read(tests if isinstance(tests, str) else json.dumps(tests))
    except (ValueError, TypeError, KeyError, AttributeError, SyntaxError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def _read(text: str) -> ProgramTests | None:
    data = json.loads(text)
    beside = {}
    if isinstance(data, dict) and data.get("test_cases"):
        beside = data
        data = _decoded(data["test_cases"])
    if data and are_strings(data):
        return read_suite("\n".join(data), "")
    if isinstance(data, list):
        return _listed(data, beside)
    if data.get("inputs"):
        return _cases(data["inputs"], data["outputs"], data.get("fn_name") or "")
    code = data.get("functional") or data["test"]
    return read_suite(code, data.get("entry_point") or "")


def _decoded(data: Any) -> Any:
    return json.loads(data) if isinstance(data, str) else data


def _listed(cases: Values, beside: Record) -> ProgramTests | None:
    """Return the tests of a list with one record per case. beside: the fields beside the list."""
    names = set()
    for case in cases:
        name = case.get("fn_name") or ""
        if (case.get("testtype") or case.get("type")) in CALLS:
            # Without a name they would test the output, and a right function would fail.
            name = name or _func_name(case) or _func_name(beside) or None
        names.add(name)
    # All cases must call the same function, or read stdin.
    name = names.pop()
    if names or name is None:
        return None
    inputs = [case["input"] for case in cases]
    outputs = [case["output"] for case in cases]
    return _cases(inputs, outputs, name)


def _func_name(record: Record) -> Any:
    """Return the name of the function in LiveCodeBench's metadata, None if there is none."""
    return (_decoded(record.get("metadata")) or {}).get("func_name")


def _cases(inputs: Values, outputs: Values, function: Any) -> ProgramTests | None:
    if not isinstance(function, str) or not inputs or len(inputs) != len(outputs):
        return None
    exact = False
    if not function:
        inputs = [_joined(lines) for lines in inputs]
        outputs = [_joined(lines) for lines in outputs]
        if not are_strings(inputs + outputs):
            return None
    elif are_strings(inputs + outputs):
        exact = True
        # LiveCodeBench writes arguments and values as JSON text.
        inputs = [_arguments(text) for text in inputs]
        outputs = [json.loads(text) for text in outputs]
    if function and not all(isinstance(arguments, list) for arguments in inputs):
        return None
    cases = zip(inputs, outputs, strict=True)
    return ProgramTests(tuple(cases), function, exact=exact)


def _arguments(text: str) -> Values:
    """Return the arguments of a call, which are one JSON value per line."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _joined(text: object) -> object:
    return "\n".join(text) if isinstance(text, list) else text

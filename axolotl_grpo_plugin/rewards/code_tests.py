"""Read the tests of programs from the forms that datasets use."""

import ast
import builtins
import json
import sys
from functools import lru_cache
from typing import Any, NamedTuple

CALLS = ("functional", "function_call")  # LiveCodeBench's and open-r1's types of function tests


class ProgramTests(NamedTuple):
    """The tests of a program: `cases` or `code`.

    cases: pairs (stdin, output), or with a `function` pairs (arguments, return value).
    code: Python code that fails if the program is wrong.
    names: the names that the code takes from the program.
    modules: the standard modules that the code uses without an import.
    exact: compare the return value itself. As in APPS, it may otherwise be the one item of an expected list.
    """

    cases: tuple[tuple[Any, Any], ...] = ()
    function: str = ""
    code: str = ""
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    exact: bool = False


def read_tests(tests: Any) -> ProgramTests | None:
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
    ProgramTests(cases=(('1 2', '3'),), function='', code='', names=(), modules=(), exact=False)
    """
    try:
        return _read(tests if isinstance(tests, str) else json.dumps(tests))
    except (ValueError, TypeError, KeyError, AttributeError, SyntaxError, RecursionError):
        return None


def as_text(tests: ProgramTests) -> str:
    """Return the tests as JSON text that `read_tests` reads."""
    if tests.code:
        own = {"entry_point": tests.names[0]} if len(tests.names) == 1 else {}
        return json.dumps({"functional": tests.code, **own})
    inputs, outputs = zip(*tests.cases, strict=True)
    if tests.exact:
        inputs = tuple("\n".join(map(json.dumps, each)) for each in inputs)
        outputs = tuple(map(json.dumps, outputs))
    own = {"fn_name": tests.function} if tests.function else {}
    return json.dumps({"inputs": inputs, "outputs": outputs, **own})


@lru_cache(maxsize=4096)
def _read(text: str) -> ProgramTests | None:
    return _tests(json.loads(text))


def _tests(data: Any) -> ProgramTests | None:
    beside: dict[str, Any] = {}
    if isinstance(data, dict) and data.get("test_cases"):
        beside, data = data, data["test_cases"]
        data = json.loads(data) if isinstance(data, str) else data
    if isinstance(data, list) and data and all(isinstance(each, str) for each in data):
        data = {"functional": "\n".join(data)}
    if isinstance(data, list):
        calls = {(each.get("testtype") or each.get("type")) in CALLS for each in data}
        names = {each.get("fn_name") or "" for each in data}
        if True in calls and "" in names:
            names = {each.get("fn_name") or _func_name(each) or _func_name(beside) for each in data}
        if len(calls) > 1 or (True in calls and "" in names):
            return None  # else they would test the output, and a right function would fail
        data = {
            "inputs": [each["input"] for each in data],
            "outputs": [each["output"] for each in data],
            "fn_name": names.pop() if len(names) == 1 else names,
        }
    if data.get("inputs"):
        return _cases(data["inputs"], data["outputs"], data.get("fn_name") or "")
    return _code(data.get("functional") or data["test"], data.get("entry_point") or "")


def _func_name(data: dict[str, Any]) -> Any:
    """Return the name of the function in LiveCodeBench's metadata, "" if there is none."""
    metadata = data.get("metadata")
    metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
    return metadata.get("func_name") or "" if isinstance(metadata, dict) else ""


def _cases(inputs: list[Any], outputs: list[Any], function: Any) -> ProgramTests | None:
    if not isinstance(function, str) or not inputs or len(inputs) != len(outputs):
        return None
    exact = bool(function) and all(isinstance(each, str) for each in (*inputs, *outputs))
    if exact:
        inputs = [
            [json.loads(line) for line in each.split("\n") if line.strip()] for each in inputs
        ]
        outputs = [*map(json.loads, outputs)]
    if function:
        fit = all(isinstance(each, list) for each in inputs)
    else:
        inputs, outputs = [*map(_lines, inputs)], [*map(_lines, outputs)]
        fit = all(isinstance(each, str) for each in (*inputs, *outputs))
    cases = tuple(zip(inputs, outputs, strict=True))
    return ProgramTests(cases, function, exact=exact) if fit else None


def _lines(text: Any) -> Any:
    return "\n".join(text) if isinstance(text, list) else text


def _code(code: str, entry_point: str) -> ProgramTests | None:
    tree = ast.parse(code)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {each.id for each in calls if isinstance(each, ast.Name)}
    if "check" in defined and "check" not in called and entry_point:
        code += f"\ncheck({entry_point})\n"
    if not any(map(_judges, ast.walk(tree))):
        return None
    bases = {each.value.id for each in attributes if isinstance(each.value, ast.Name)}
    inner = {id(each.value) for each in attributes}
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    alone = {node.id for node in named if id(node) not in inner} | _imported(tree)
    free = {node.id for node in named} - _own(tree)
    # Without the `np` of `np.allclose(...)`, because a program could replace it.
    taken = {entry_point} if entry_point else alone & (free | _imported(tree)) - set(dir(builtins))
    if taken.isdisjoint(
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)
    ):
        return None
    modules = (bases & free & sys.stdlib_module_names) - taken
    return ProgramTests(code=code, names=tuple(sorted(taken)), modules=tuple(sorted(modules)))


def _judges(node: ast.AST) -> bool:
    """Return whether a node can make the tests fail."""
    name = getattr(node, "attr", "") or getattr(node, "id", "")
    return isinstance(node, ast.Assert | ast.Raise) or name.startswith("assert")


def _imported(tree: ast.AST) -> set[str]:
    """Return the names that tests import from the program, whose module they call `solution`."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {each.name for node in froms if node.module == "solution" for each in node.names} - {"*"}


def _own(tree: ast.AST) -> set[str]:
    """Return the names that tests set, define or import."""
    own: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.alias):
            own.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            own.add(node.id)
    return own

"""The jobs of `rewards.code`: a program that prints, or whose functions are called or tested.

What a program prints or returns is compared outside its process. Only tests that run together with a program bring
expected values into its process. Tests that are code run as suite.py says.
"""

import ast
import builtins
import json
import os
import sys
from importlib import import_module
from types import CodeType, ModuleType
from typing import Any

from axolotl_grpo_plugin.sandbox.suite import test_apart, test_together

NO_EFFECT = (ast.Pass, ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# LeetCode's programs use these modules without an import.
LEETCODE = (
    "typing",
    "collections",
    "heapq",
    "bisect",
    "math",
    "itertools",
    "functools",
    "re",
    "string",
)

Message = dict[str, Any]


def main(request: Message, channel: Any) -> None:
    """Send the program's problem, or ""; then run the program, and answer requests.

    request: the source in `program`, and the job in `job`: "print", "call", "test_apart" or "test_together".
    To test, also `imports`, the import statements of the tests, and `names`, which they take from the program.
    """
    tree, problem = parse(request["program"])
    try:
        # Now, because the program could replace a module.
        exec("\n".join(request.get("imports", [])), {})
    except Exception:  # an import of a test may fail in any way, and the program is not at fault
        problem = "bad_tests"
    channel.send(problem)
    if problem:
        return
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # `site` would add them
    code = compile(tree, "program.py", "exec")

    def load() -> ModuleType:
        return load_functions(code)

    match request["job"]:
        case "print":
            os.close(3)  # the channel
            module = sys.modules["__main__"] = ModuleType("__main__")
            exec(code, vars(module))
        case "call":
            answer_calls(load(), channel)
        case "test_apart":
            test_apart(load, request, channel)
        case "test_together":
            test_together(load, request, channel)


def load_functions(code: CodeType) -> ModuleType:
    """Run a program whose functions are called or tested. Return its module."""
    module = sys.modules["program"] = ModuleType("program")
    for name in LEETCODE:
        give_public_names(import_module(name))
    exec(code, vars(module))
    return module


def answer_calls(module: ModuleType, channel: Any) -> None:
    channel.send("loaded")
    while (asked := channel.receive()) is not None:
        channel.send(call(module, **asked))


def give_public_names(module: ModuleType) -> None:
    """Make a module and its public names builtins, so that they are not taken for the program's own."""
    names = [name for name in vars(module) if name[0] != "_"]
    for name in getattr(module, "__all__", names):
        vars(builtins).setdefault(name, getattr(module, name))
    vars(builtins).setdefault(module.__name__, module)


def parse(source: str) -> tuple[Any, str]:
    """Return a program's syntax tree, and its problem: "syntax_error", "empty_program" or ""."""
    try:
        tree = ast.parse(source, "program.py")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, "syntax_error"
    return tree, "" if any(map(does_something, tree.body)) else "empty_program"


def does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, DEFINITIONS):
        return any(map(does_something, statement.body))
    return not is_constant(statement) and not isinstance(statement, NO_EFFECT)


def is_constant(statement: ast.stmt) -> bool:
    """Return True for a docstring, and for any other constant on a line of its own."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def call(module: ModuleType, name: str, arguments: list[Any]) -> Message:
    """Call a function, or a method of `Solution`. Arguments and result are JSON data."""
    try:
        function = getattr(module, name, None)
        # The method first: after `from math import *`, `gcd` is in the module too.
        if hasattr(module, "Solution"):
            function = getattr(module.Solution(), name, function)
        if function is None:
            return {"missing": name}
        # `tolist` is of numpy.
        text = json.dumps(function(*arguments), default=lambda value: value.tolist())
        return {"value": json.loads(text)}
    except BaseException as error:
        return {"raised": type(error).__name__}

"""Run tests that are Python code: statements, unittest's classes, pytest's functions and classes.

The tests run in one of two ways. If they run apart from the program, their process never loads it, and the program
can only answer (objects.py). If they need its real objects, they run together with it in one process.
"""

import ast
import builtins
import ctypes
import os
import re
import socket
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator
from inspect import isclass
from types import FunctionType, ModuleType
from typing import Any

from axolotl_grpo_plugin.sandbox.objects import Program, Remote, serve

BUILTINS = dict(vars(builtins))  # before a program can replace them
NO_TESTS = (
    *(ast.Pass, ast.Import, ast.ImportFrom),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign, ast.AugAssign),
)
DUMPABLE = 4  # of prctl
# An object that equals one of these equals everything.
UNRELATED = (object(), 10**9 + 7, "unrelated")

Names = dict[str, Any]


def test_apart(load: Callable[[], ModuleType], request: Names, channel: Any) -> None:
    """Run tests in this process, and the program in a child process.

    The child process is there before the tests arrive, and does not have the channel. So the program finds
    neither the tests nor a way to write their result.
    """
    ours, theirs = socket.socketpair()
    ctypes.CDLL(None).prctl(DUMPABLE, 0)  # the program cannot read this process' memory
    child = os.fork()
    if child == 0:
        os.close(3)  # the channel
        ours.close()
        serve(theirs, names_of(load(), request["names"]))
        return
    theirs.close()
    channel.send("loaded")
    asked = channel.receive()
    Remote.program = Program(ours, child, asked["sees_changes"])
    _, names, _ = Remote.program.receive()
    containers = [name for name, value in names.items() if isinstance(value, (list, dict, set))]
    result: Any = None
    if not containers:  # the program may change a container, and the tests would see an old copy
        missing = set(request["names"]) - names.keys()
        result = run_tests(ast.parse(asked["code"]), names, missing, asked["go_on"])
    if containers or Remote.program.needs_objects:
        channel.send("needs_objects")
    else:
        channel.send([asked["token"], *result])


def test_together(load: Callable[[], ModuleType], request: Names, channel: Any) -> None:
    """Run tests in the program's process. They arrive with a token, after the program was loaded.

    The result counts only with the token. A program that ends the process early has not sent it.
    """
    modules = dict(sys.modules)
    before = remember(modules_and_classes(request["imports"]))
    module = load()
    sys.modules.update(modules)
    restore(before)
    runner = remember(runner_classes())
    channel.send("loaded")
    asked = channel.receive()
    names = names_of(module, request["names"])
    tree = DistrustObjects().visit(ast.parse(asked["code"]))
    missing = set(request["names"]) - names.keys()
    passed, total, reason = run_tests(
        ast.fix_missing_locations(tree), names, missing, asked["go_on"]
    )
    if is_replaced(runner):
        passed, reason = 0, "wrong_output"
    channel.send([asked["token"], passed, total, reason])


def names_of(module: ModuleType, names: list[str]) -> Names:
    # Not `getattr`, because the program may define the module's `__getattr__`.
    return {name: vars(module)[name] for name in names if name in vars(module)}


def run_tests(
    tree: ast.Module, names: Names, missing: set[str], go_on: bool
) -> tuple[int, int, str]:
    """Run tests of any kind. Return how many passed, how many there are, and why the first one failed.

    Args:
        names: the values that the program gives to the tests.
        missing: the names that it should have given.
        go_on: run the other tests after a failure.
    """
    tests: Any = ModuleType("tests")
    solution: Any = ModuleType("solution")
    sys.modules.update(tests=tests, solution=solution)
    vars(tests).update(names, _believable=believable)
    vars(solution).update(names)
    tests.__builtins__ = BUILTINS
    unittest.main = lambda *_, **__: None  # type: ignore[assignment]  # they run below
    result = unittest.TestResult()
    result.failfast = not go_on
    for is_test, case in cases(tree, tests):
        if not result.shouldStop:
            case.run(result)
            if not is_test:
                result.testsRun -= 1
    problems = result.failures + result.errors
    if not mentions(tree, "skip"):  # the program has raised SkipTest
        problems += result.skipped
    total = max(result.testsRun, len(problems))
    reason = why(problems[0][1], missing) if problems else ""
    return total - len(problems), total, reason


def mentions(tree: ast.Module, word: str) -> bool:
    return any(
        word in (getattr(node, "attr", "") or getattr(node, "id", "")).lower()
        for node in ast.walk(tree)
    )


def cases(tree: ast.Module, tests: ModuleType) -> Iterator[tuple[bool, Any]]:
    """Yield whether a piece of the tests is a test, and how to run it."""
    for node in tree.body:
        piece = compile(ast.Module([node], []), "tests.py", "exec")
        case = unittest.FunctionTestCase(FunctionType(piece, vars(tests)))
        is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        yield not isinstance(node, NO_TESTS) and not is_constant, case
    for node in tree.body:
        name = getattr(node, "name", "")
        value: Any = vars(tests).get(name)
        if isinstance(value, type):
            if name.startswith("Test") and not issubclass(value, unittest.TestCase):  # of pytest
                hooks = {"setUp": getattr(value, "setup_method", object)}
                value = type(name, (value, unittest.TestCase), hooks)
            if issubclass(value, unittest.TestCase):
                yield True, unittest.defaultTestLoader.loadTestsFromTestCase(value)
        elif isinstance(node, ast.FunctionDef) and name.startswith("test_"):
            has_caller = node.args.args and not hasattr(value, "patchings")  # of unittest.mock
            if not has_caller:
                yield True, unittest.FunctionTestCase(value)


def why(failure: str, missing: set[str]) -> str:
    """Return why a test failed. failure: its traceback."""
    last = failure.rstrip().rpartition("\n")[2]
    if any(repr(name) in last for name in missing):
        return "no_function"
    return "wrong_output" if last.startswith(("AssertionError", "Failed")) else "runtime_error"


# Tests together with the program. It may replace parts of the test runner, and its objects may lie.


def remember(owners: Iterable[Any]) -> list[tuple[Any, Names]]:
    """Return modules and classes, each with its attributes of now."""
    return [(owner, dict(vars(owner))) for owner in owners]


def restore(before: list[tuple[Any, Names]]) -> None:
    """Undo that a program replaced attributes of modules and classes. before: from `remember`."""
    for owner, names in before:
        for name, value in names.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)


def is_replaced(runner: list[tuple[Any, Names]]) -> bool:
    """Return whether a program replaced a method of the test runner. runner: from `remember`."""
    return any(
        isinstance(value, FunctionType) and vars(kind).get(name) is not value
        for kind, names in runner
        for name, value in names.items()
    )


def modules_and_classes(imports: list[str]) -> list[Any]:
    """Return all modules, and the classes of the test runner and of the modules that the tests import."""
    modules = [sys.modules[statement.split()[1]] for statement in imports]
    return [*sys.modules.values(), *runner_classes(), *classes_of(modules)]


def runner_classes() -> list[type]:
    return classes_of(
        module for name, module in sys.modules.items() if name.startswith(("unittest.", "_pytest."))
    )


def classes_of(modules: Iterable[ModuleType]) -> list[type]:
    return [value for module in modules for value in vars(module).values() if isclass(value)]


class DistrustObjects(ast.NodeTransformer):
    """Passes all that tests compare through `believable`: in `a == b`, `a in b` and `assertEqual(a, b)`."""

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        self.generic_visit(node)
        node.left = self.believed(node.left)
        node.comparators = [self.believed(side) for side in node.comparators]
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        match node:
            case ast.Call(ast.Attribute(attr=name)) if re.match("assert[A-Z]", name):
                node.args = [self.believed(value) for value in node.args]
                for keyword in node.keywords:
                    keyword.value = self.believed(keyword.value)
        return node

    def believed(self, value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Constant | ast.Starred):
            return value
        return ast.Call(ast.Name("_believable", ast.Load()), [value], [])


def believable(value: Any) -> Any:
    """Return a value.

    Raises: AssertionError if it equals anything.
    """
    if equals_anything(value):
        raise AssertionError(f"a {type(value).__name__} equals anything")
    return value


def equals_anything(value: Any) -> bool:
    if type(value) in (list, tuple, set, frozenset):
        return any(map(equals_anything, value))
    if type(value) is dict:
        return any(map(equals_anything, value.values()))
    for other in UNRELATED:
        try:
            result = value == other
            # An array of numpy or pandas returns one result per item.
            if value is not other and not hasattr(result, "all") and result:
                return True
        except Exception:  # it expects another object of its class
            continue
    return False

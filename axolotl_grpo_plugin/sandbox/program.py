"""The jobs of `rewards.code`: a program that reads and prints, or whose functions are called or tested.

Calls and tests run in the program's process. Their expected values stay outside: a value that the program made
is sent out as text, and is compared there. So the program cannot return what it was asked to compute.
"""

import ast
import builtins
import gc
import json
import operator
import os
import sys
import threading
import unittest
from array import array
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from importlib import import_module
from inspect import isclass
from pathlib import Path, PosixPath, PurePath
from queue import SimpleQueue
from types import FunctionType, ModuleType
from typing import Any

NO_EFFECT = (ast.Pass, ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
# LeetCode's programs use these modules without an import.
LEETCODE = "typing collections heapq bisect math itertools functools re string".split()
BUILTINS = dict(vars(builtins))  # without LeetCode's names
# The types of plain data that are neither numbers, nor text, nor made of other values.
PLAIN: tuple[Any, ...] = (
    bool,
    complex,
    type(None),
    type(...),
    bytearray,
    array,
    range,
    Decimal,
    date,
    datetime,
    time,
    timedelta,
    timezone,
)
KEYS: Any = type({}.keys())
SCALARS: tuple[Any, ...] = (int, float, bytes)

Message = dict[str, Any]
Function = Callable[..., Any]


def main(request: Message, channel: Any) -> None:
    """Send the program's problem, or ""; then run the program, and answer requests.

    request: the source in `program`; True in `functions` to call or to test them; in `tests` None, or what
    their tests import.
    """
    tree, problem = parse(request["program"])
    imports = request["tests"] or ()
    try:
        for statement in imports:
            exec(statement, {})  # now, because the program could replace a module
    except Exception:  # an import of a test may fail in any way, and the program is not at fault
        problem = "bad_tests"
    channel.send(problem)
    if problem:
        return
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # `site` would add them
    code = compile(tree, "program.py", "exec")
    if not request["functions"]:
        module = sys.modules["__main__"] = ModuleType("__main__")
        os.close(3)  # the channel
        exec(code, vars(module))
        return
    module = sys.modules["program"] = ModuleType("program")
    for name in LEETCODE:
        give_public_names(import_module(name))
    has_tests = request["tests"] is not None
    if has_tests:
        hide_tests()
        restore = remember([statement.split()[1] for statement in imports])
    exec(code, vars(module))
    channel.send("loaded")
    if has_tests:
        restore()
        threading.Thread(target=answer_tests, args=(module, channel)).start()
        while (task := TASKS.get()) is not None:
            task()
    else:
        while (asked := channel.receive()) is not None:
            channel.send(call(module, **asked))


def answer_tests(module: ModuleType, channel: Any) -> None:
    try:
        channel.send(run_tests(module, channel, **channel.receive()))
    finally:
        TASKS.put(None)


def hide_tests() -> None:
    """Remove what finds objects of other threads, or runs in them. The tests run in one of their own."""
    gc.get_objects = gc.get_referrers = gc.get_referents = list  # type: ignore[assignment]
    del gc.callbacks, sys._current_frames, sys.addaudithook, sys.monitoring


def patchable(imported: list[str]) -> Iterator[Any]:
    """Yield the modules, and the classes that tests rely on. imported: the modules that they import."""
    yield from (*PLAIN, Counter, Fraction, PurePath, Path, PosixPath)
    for name, module in list(sys.modules.items()):
        yield module
        if name in imported or name.startswith(
            ("unittest.", "_pytest.raises", "_pytest.python_api")
        ):
            yield from filter(isclass, vars(module).values())


def codes_of(owners: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return the functions of modules and classes, each with its code."""
    codes = []
    for owner in owners:
        for value in vars(owner).values():
            if type(value) is FunctionType:
                codes.append((value, value.__code__))
    return codes


# The server computes this once, before its jobs, because it takes time.
CODES = codes_of(patchable([]))


def remember(imported: list[str]) -> Function:
    """Return a function that undoes that the program replaced modules, functions or their code."""
    modules = dict(sys.modules)
    before = [(owner, dict(vars(owner))) for owner in patchable(imported)]
    codes = CODES.copy()
    for name in imported:
        module = sys.modules[name]
        codes += codes_of([module, *filter(isclass, vars(module).values())])

    def restore() -> None:
        for function, code in codes:
            if function.__code__ is not code:
                function.__code__ = code
        for owner, names in before:
            for name, value in names.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
            if isclass(owner):
                for name in vars(owner).keys() - names.keys():
                    delattr(owner, name)
        sys.modules.update(modules)

    return restore


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


# Tests.


def run_tests(
    module: ModuleType,
    channel: Any,
    code: str,
    names: list[str],
    own_types: bool,
    copies: bool,
    go_on: bool,
    nonce: str,
) -> list[Any]:
    """Run tests of any kind. Return the nonce, how many passed, how many there are, and why the first one failed.

    names: what the tests take from the program. own_types: they need the program's own types. copies: the
    program gets copies of their values. go_on: after a failure too.
    """
    tests: Any = ModuleType("tests")
    solution: Any = ModuleType("solution")
    sys.modules.update(tests=tests, solution=solution)
    # Not `getattr`, because the program may define the module's `__getattr__`.
    given = {name: vars(module)[name] for name in names if name in vars(module)}
    missing = map(repr, set(names) - set(given))
    for value in given.values():
        # A program can change containers of its module, and the tests look at them again.
        own_types = own_types or is_one_of(value, (list, dict, set))
    if not own_types:
        given = apart(dict, given)
    for importer in (tests, solution):
        vars(importer).update(given)
    Guard.copies = copies
    tests._held = partial(Held, channel)
    tests.__builtins__ = BUILTINS
    unittest.main = lambda *_, **__: None  # type: ignore[assignment]  # they run below
    result = unittest.TestResult()
    result.failfast = not go_on
    for is_test, case in cases(ast.parse(code), tests):
        if not result.shouldStop:
            if own_types:
                apart(case.run, result)  # so that the program finds no frame with the nonce
            else:
                case.run(result)
            result.testsRun -= not is_test
    problems = result.failures + result.errors
    if "skip" not in code:  # the program has raised SkipTest
        problems += result.skipped
    reason = ""
    if problems:
        reason = why(problems[0][1], missing)
    total = max(result.testsRun, len(problems))
    return [nonce, total - len(problems), total, reason]


def cases(tree: Any, tests: ModuleType) -> Iterator[tuple[bool, Any]]:
    """Yield whether a piece of the tests is a test, and how to run it."""
    for node in tree.body:
        is_test = not isinstance(node, (*NO_EFFECT, *DEFINITIONS, *ASSIGNMENTS))
        piece = compile(ast.Module([node], []), "tests.py", "exec")
        case = unittest.FunctionTestCase(FunctionType(piece, vars(tests)))
        yield is_test and not is_constant(node), case
    for node in tree.body:
        name = getattr(node, "name", "")
        value: Any = vars(tests).get(name)
        if isinstance(value, type):
            if name.startswith("Test") and not issubclass(value, unittest.TestCase):  # of pytest
                hooks = {"setUp": getattr(value, "setup_method", object)}
                value = type(name, (value, unittest.TestCase), hooks)
            if issubclass(value, unittest.TestCase):
                yield True, unittest.defaultTestLoader.loadTestsFromTestCase(value)
        elif name.startswith("test_") and (hasattr(value, "patchings") or not node.args.args):
            yield True, unittest.FunctionTestCase(value)


def why(failure: str, missing: Iterable[str]) -> str:
    """Return why a test failed. failure: its traceback. missing: quoted names."""
    last = failure.rstrip().rpartition("\n")[2]
    if any(name in last for name in missing):
        return "no_function"
    return "wrong_output" if last.startswith(("AssertionError", "Failed")) else "runtime_error"


@dataclass(eq=False)
class Held:
    """Replaces an expected literal in tests. It stays outside."""

    channel: Any
    number: int

    def __eq__(self, value: object) -> Any:
        self.channel.send({"number": self.number, "text": as_text(value)})
        answer = self.channel.receive()
        if isinstance(answer, bool):
            return answer
        # It is an object of the program, which may equal plain data. If it equals anything, it is wrong.
        literal = ast.literal_eval(answer)
        return value == literal and value not in (object(), f"{literal}?", 10**9 + 7)


def as_text(value: Any) -> str | None:
    """Return text that is the same for equal plain values, None for other objects."""
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if value is None or isinstance(value, complex):
        return repr(value)
    if isinstance(value, (str, bytes)):
        return ascii(value[:])  # without a subclass
    if isinstance(value, (int, float, Fraction, Decimal)):
        try:
            return str(Fraction(value))
        except (ValueError, OverflowError):  # infinite, or no number
            return repr(value)
    for kinds in ((list,), (tuple,), (dict,), (set, frozenset, KEYS)):
        if isinstance(value, kinds):
            items: Any = value
            if isinstance(value, dict):
                items = value.items()
            parts = list(map(as_text, items))
            if not isinstance(value, (list, tuple)):
                parts.sort(key=str)
            return f"{kinds}{parts}"
    return None


# Bit 512 is the flag of all classes that are written in Python.
FLAGS = vars(type)["__flags__"].__get__  # a metaclass cannot replace it
KNOWN: dict[Any, Any] = {}  # what tests read from guarded objects
TASKS: SimpleQueue[Any] = SimpleQueue()  # of the main thread


def apart(function: Function, *arguments: Any, **keywords: Any) -> Any:
    """Call a function in the main thread, where the program finds no frame of the tests."""
    result: Future[Any] = Future()

    def task() -> None:
        try:
            result.set_result(guarded(function(*arguments, **keywords)))
        except BaseException as error:
            # `pytest.raises` believes `__class__`.
            is_honest = error.__class__ is type(error)
            # These would end a loop or a test early, as if all had passed.
            ends = function is not next and isinstance(error, (StopIteration, unittest.SkipTest))
            result.set_exception(RuntimeError() if ends or not is_honest else error)

    if threading.current_thread() is threading.main_thread():
        task()
    else:
        TASKS.put(task)
    return result.result()


class Guard:
    """Replaces an object of the program in tests that need no types of it.

    It never equals plain data. Until the program is called again, it does not change.
    """

    copies = True  # the program gets copies of the tests' values

    def __init__(self, value: Any):
        vars(self).update(_value=value)

    def __getattr__(self, name: str) -> Any:
        # Libraries trust other such attributes: numpy would read `__array_interface__`.
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)
        return apart(getattr, self._value, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        KNOWN.clear()
        if self.copies:
            with suppress(Exception):  # a generator cannot be copied
                arguments, keywords = deepcopy((arguments, keywords))
        values = [value._value if isinstance(value, Guard) else value for value in arguments]
        return apart(self._value, *values, **keywords)

    def __deepcopy__(self, _: Any) -> Any:
        return self

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return apart(getattr, self._value, "__doc__")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        kind = type(self._value)  # `isinstance` asks for it
        # A metaclass could run code of the program in the thread of the tests.
        return kind if type(kind) is type else Guard

    def __next__(self) -> Any:
        return apart(next, self._value)

    def __iter__(self) -> Any:
        if apart(hasattr, type(self._value), "__next__"):
            return self
        return iter(parts_of(self))

    def __radd__(self, other: Any) -> Any:
        return apart(operator.add, other, self._value)

    def __rmul__(self, other: Any) -> Any:
        return apart(operator.mul, other, self._value)

    def __contains__(self, value: Any) -> bool:
        return value in list(self)  # an endless object would contain any number


def forward(function: Function) -> Function:
    """Return a method of Guard that applies a function of `operator` or `builtins` to the object."""

    def method(self: Guard, *arguments: Any) -> Any:
        if function in (setattr, operator.setitem, operator.delitem):
            KNOWN.clear()
        key = (function, id(self._value), repr(arguments))
        if key not in KNOWN:
            value = apart(function, self._value, *arguments)
            KNOWN[key] = self, value  # while `self` is there, no other object has its id
        return KNOWN[key][1]

    return method


def between(function: Function) -> Function:
    """Return a method of Guard that applies an operator to two objects of the program.

    Only sums and products are also of an object and a value of the tests. Otherwise the program could say
    that it is equal to the expected value, or that their difference is 0.
    """

    def method(self: Guard, other: Any) -> Any:
        if type(other) is Guard:
            other = other._value
        elif function not in (operator.add, operator.mul):
            return NotImplemented
        return apart(function, self._value, other)

    return method


BINARY = "eq lt le gt ge add sub mul matmul truediv floordiv mod and or xor"
UNARY = "hash len str repr bool int float abs neg round format reversed"
CHANGES = "getitem setitem delitem setattr"
for names, make in ((BINARY, between), (f"{UNARY} {CHANGES}", forward)):
    for name in names.split():
        method = f"__{name}__"
        # Not `getattr`, because a module has its own `__str__`.
        function = vars(operator).get(method) or getattr(builtins, name)
        setattr(Guard, method, make(function))
parts_of = forward(list)


def is_one_of(value: object, kinds: tuple[Any, ...]) -> bool:
    # Not `in`, because a type may equal all others.
    return any(type(value) is kind for kind in kinds)


def guarded(value: Any) -> Any:
    """Return plain data without the program's subclasses, and anything else in a Guard."""
    if is_one_of(value, PLAIN):
        return value
    if hasattr(value, "dtype") and not FLAGS(type(value)) & 512:  # of numpy itself
        return guarded(value.tolist()) if value.dtype.hasobject else value.copy()
    kind: Any = type(value)
    if isinstance(value, dict):
        plain = {guarded(key): guarded(value[key]) for key in value}
        if isinstance(value, defaultdict):
            return defaultdict(guarded(value.default_factory), plain)
        if is_one_of(value, (Counter, OrderedDict)):
            return kind(plain)
        return plain
    if kind is deque:
        return deque(map(guarded, value), value.maxlen)
    if kind is PosixPath:
        return kind(str(value))
    if kind is KEYS:
        return dict.fromkeys(map(guarded, value)).keys()
    if kind is Fraction:  # a program can replace its parts
        return Fraction(*map(guarded, value.as_integer_ratio()))
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            parts = [guarded(part) for part in value]
            if hasattr(value, "_fields"):  # a named tuple
                return namedtuple("Row", value._fields)(*parts)
            return kind(parts)
    for scalar in SCALARS:
        if isinstance(value, scalar):
            return scalar(value)
    if isinstance(value, str):
        return str.__str__(value)  # `str(value)` of an Enum is its name
    return Guard(value)

"""The two kinds of jobs of `rewards.code`: a program, and tests that are code.

A program reads stdin and prints, or its functions are called from outside. Tests that are code run in another
sandbox. There, stand-ins replace the program's objects: each call of a stand-in travels to the program's
sandbox, and the result comes back as plain data. So the process that judges a program holds no object of it.
"""

import ast
import builtins
import json
import operator
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from importlib import import_module
from itertools import tee
from types import ModuleType
from typing import Any

NO_EFFECT = (ast.Pass, ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# LeetCode's programs use these modules without an import.
LEETCODE = "typing collections heapq bisect math itertools functools re string".split()


def main(request: dict[str, Any], channel: Any) -> None:
    if request["run"] == "tests":
        channel.send(TestRunner(channel).judge(**request["tests"]))
    else:
        run(request["program"], request["run"] == "functions", channel)


# Programs.


def run(source: str, functions: bool, channel: Any) -> None:
    """Send the program's problem, or ""; then run the program, and answer calls of its functions."""
    tree, problem = parse(source)
    channel.send(problem)
    if problem:
        return
    module = ModuleType("program" if functions else "__main__")
    sys.modules[module.__name__] = module
    if functions:
        for name in LEETCODE:
            give_public_names(import_module(name))
    else:
        os.close(3)  # the channel
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # `site` would add them
    exec(compile(tree, "program.py", "exec"), module.__dict__)
    program = Program(module, channel)
    while functions and (request := channel.receive()) is not None:
        channel.send(program.answer(request))


def give_public_names(module: ModuleType) -> None:
    """Make a module and its public names builtins, so that they are not taken for the program's own."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]
    for name in (module.__name__, *public):
        value = sys.modules[name] if name == module.__name__ else getattr(module, name)
        vars(builtins).setdefault(name, value)


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


class Program:
    """The program's side of a test: handles requests from outside. A request names one method here."""

    def __init__(self, module: ModuleType, channel: Any):
        self.module, self.channel = module, channel
        self.objects: list[Any] = []  # a reference is an index of this list

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return getattr(self, request.pop("do"))(**request)  # type: ignore[no-any-return]
        except BaseException as error:
            return {"raised": type(error).__name__, "message": str(error)[:1000]}

    def plain(self, name: str, arguments: list[Any]) -> dict[str, Any]:
        """Call a function, or a method of `Solution`. Arguments and result are JSON data."""
        # The method first: after `from math import *`, `gcd` is in the module too.
        function = None
        if hasattr(self.module, "Solution"):
            function = getattr(self.module.Solution(), name, None)
        if function is None:
            function = getattr(self.module, name, None)
        if function is None:
            return {"missing": name}
        return {"value": json.loads(json.dumps(function(*arguments), default=of_numpy))}

    def name(self, name: str) -> dict[str, Any]:
        if not hasattr(self.module, name):
            return {"missing": name}
        return {"value": self.encode(getattr(self.module, name))}

    def attribute(self, of: int, name: str) -> dict[str, Any]:
        return {"value": self.encode(getattr(self.objects[of], name))}

    def apply(self, function: str, of: int, arguments: Any) -> dict[str, Any]:
        """Apply a function of `operator` or `builtins` to an object."""
        known = getattr(operator, function, None) or getattr(builtins, function)
        try:
            return {"value": self.encode(known(self.objects[of], *self.decode(arguments)))}
        except StopIteration:
            if function == "next":
                return {"ended": True}
            raise

    def call(self, of: int, arguments: Any, keywords: Any) -> dict[str, Any]:
        values = self.decode(arguments)
        value = self.objects[of](*values, **self.decode(keywords))
        # The function may have sorted a list in place, so send the arguments back.
        return {"value": self.encode(value), "arguments": self.encode(values)}

    def encode(self, value: Any) -> Any:
        return encode(value, self.refer)

    def refer(self, value: Any) -> dict[str, int]:
        self.objects.append(value)
        return {"object": len(self.objects) - 1}

    def decode(self, data: Any) -> Any:
        return decode(data, {"object": self.objects.__getitem__, "function": self.function})

    def function(self, number: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.channel.send({"call_back": number, "arguments": self.encode(list(arguments))})
            return self.decode(self.channel.receive()["value"])

        return call


# Tests.


class ProgramError(Exception):
    """The program raised an exception that Python does not define, or that would end a loop here."""


class TestRunner:
    """The tests' side: sends requests to the program. The tests are trusted, as the dataset is."""

    def __init__(self, channel: Any):
        self.channel = channel
        self.functions: list[Callable[..., Any]] = []  # functions that the program may call
        self.missing: set[str | None] = set()  # names that the program does not define
        self.copies_changes = False
        self.answers: dict[str, dict[str, Any]] = {}  # about objects, until the tests act again
        self.numbers: dict[str, dict[str, Any]] = {}  # int, float and abs of an object, for good
        self.items: dict[int, Any] = {}

    def judge(self, code: str, names: list[str], modules: list[str], go_on: bool) -> dict[str, Any]:
        """Run the tests. Return the numbers of passed and of all tests, and why the first one failed.

        A test is a statement that defines nothing, or a function test_*().
        """
        namespace: dict[str, Any] = {name: import_module(name) for name in modules}
        for name in names:
            answer = self.ask("name", name=name)
            if "missing" in answer:
                self.missing.add(name)
            else:
                namespace[name] = self.decode(answer["value"])
        program = ModuleType("solution")
        program.__dict__.update(namespace)
        sys.modules["solution"] = program
        namespace["__name__"] = "tests"
        passed = total = 0
        reason = ""
        tree = ast.parse(code)
        self.copies_changes = looks_at_arguments(tree, set(names))
        for is_test, piece in compiled(tree):
            total += is_test
            if reason and not go_on:
                continue
            try:
                exec(piece, namespace)
                passed += is_test
            except AssertionError:
                reason = reason or "wrong_output"
            except Exception as error:
                names_of_error = {getattr(error, "name_from", None), getattr(error, "name", None)}
                missing = not self.missing.isdisjoint(names_of_error)
                reason = reason or ("no_function" if missing else "runtime_error")
        return {"done": {"passed": passed, "total": total, "reason": reason}}

    def read(self, known: dict[str, dict[str, Any]], **request: Any) -> dict[str, Any]:
        """Ask about an object, once; then repeat the answer, so that both sides of a comparison agree.

        known: `self.answers` or `self.numbers`.
        """
        key = json.dumps(request)
        if key not in known:
            known[key] = self.ask(**request)
        return known[key]

    def act(self, **request: Any) -> dict[str, Any]:
        """Send a request that may change objects."""
        self.answers.clear()
        self.items.clear()
        return self.ask(**request)

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        self.channel.send({"do": do, **details})
        answer = self.channel.receive()
        while "call_back" in answer:
            value = self.functions[answer["call_back"]](*self.decode(answer["arguments"]))
            self.channel.send({"value": self.encode(value)})
            answer = self.channel.receive()
        if "raised" in answer:
            known: Any = getattr(builtins, answer["raised"], None)
            is_exception = isinstance(known, type) and issubclass(known, Exception)
            # A StopIteration would end a loop of the tests early, as if all had passed.
            if known in (StopIteration, StopAsyncIteration) or not is_exception:
                raise ProgramError(answer["raised"], answer["message"])
            raise known(answer["message"])
        return dict(answer)

    def call(self, of: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        sent = {"arguments": self.encode(list(arguments)), "keywords": self.encode(keywords)}
        answer = self.act(do="call", of=of, **sent)
        if self.copies_changes:
            for ours, theirs in zip(arguments, self.decode(answer["arguments"]), strict=True):
                copy_changes(ours, theirs)
        return self.decode(answer["value"])

    def encode(self, value: Any) -> Any:
        return encode(value, self.refer)

    def refer(self, value: Any) -> dict[str, int]:
        if isinstance(value, StandIn):
            return {"object": value._number}
        if not callable(value):
            raise TypeError(f"The tests cannot send a {type(value).__name__} to the program.")
        self.functions.append(value)
        return {"function": len(self.functions) - 1}

    def decode(self, data: Any) -> Any:
        return decode(data, {"object": lambda number: StandIn(self, number)})


def compiled(tree: ast.Module) -> Iterator[tuple[bool, Any]]:
    """Yield each statement of the tests: whether it is a test, and its compiled code."""
    assignments = (ast.Assign, ast.AnnAssign, ast.AugAssign)
    for node in tree.body:
        # `if __name__ == "__main__":` calls a test runner.
        is_main = isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        is_other = isinstance(node, (*NO_EFFECT, *DEFINITIONS, *assignments))
        is_test = not (is_main or is_other or is_constant(node))
        yield is_test, compile(ast.Module([node], []), "tests.py", "exec")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield True, compile(f"{node.name}()", "tests.py", "exec")


class StandIn:
    """Replaces an object of the program in the tests. It equals only itself, whatever the object claims."""

    def __init__(self, runner: TestRunner, number: int):
        vars(self).update(_runner=runner, _number=number)

    def __getattr__(self, name: str) -> Any:
        # Libraries trust other such attributes: numpy would read `__array_interface__`.
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)
        runner = self._runner
        answer = runner.read(runner.answers, do="attribute", of=self._number, name=name)
        return runner.decode(answer["value"])

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._runner.call(self._number, arguments, keywords)

    def __iter__(self) -> Any:
        """Iterate. Until the tests act again, each iteration gives the same items."""
        items = self._runner.items
        if self._number not in items:
            iterator = forward("iter")(self)
            if not isinstance(iterator, StandIn):
                return iter(iterator)
            (items[self._number],) = tee(iter(partial(next, iterator), object()), 1)
        return copy(items[self._number])

    def __contains__(self, item: Any) -> bool:
        return item in list(self)  # an endless object would contain any number


def forward(function: str) -> Callable[..., Any]:
    """Return a method of StandIn that applies a function of `operator` or `builtins` to the object."""

    def method(self: StandIn, *arguments: Any) -> Any:
        runner = self._runner
        encoded = runner.encode(list(arguments))
        request = {"do": "apply", "function": function, "of": self._number, "arguments": encoded}
        if function in ("bool", "len", "getitem", "str", "repr", "iter"):
            answer = runner.read(runner.answers, **request)
        elif function in ("int", "float", "abs"):
            answer = runner.read(runner.numbers, **request)
        else:
            answer = runner.ask(**request) if function == "next" else runner.act(**request)
        if "ended" in answer:
            raise StopIteration
        return runner.decode(answer["value"])

    return method


for each in "len next getitem setitem delitem setattr str repr bool int float abs".split():
    setattr(StandIn, f"__{each}__", forward(each))


def looks_at_arguments(tree: ast.Module, names: set[str]) -> bool:
    """Return True if the tests compare an argument of a call with a value that the program did not make.

    Only such tests see how the program changed the argument: `x = [2, 1]; f(x); assert x == [1, 2]`.
    Otherwise a program could empty `x` before `assert f(x) == sorted(x)` reads it.
    """
    nodes = list(ast.walk(tree))
    program = names | {node.arg for node in nodes if isinstance(node, ast.arg)}

    def used(node: ast.AST) -> set[str]:
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}

    def program_calls(node: ast.AST) -> list[ast.Call]:
        calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
        return [each for each in calls if not used(each.func).isdisjoint(program)]

    arguments = {
        name
        for call in program_calls(tree)
        for each in (*call.args, *(word.value for word in call.keywords))
        for name in used(each)
    } - program
    results = set(program)  # names whose values may come from the program
    for node in nodes:
        if isinstance(node, ast.Assign) and not used(node.value).isdisjoint(results):
            results |= {name for target in node.targets for name in used(target)} - arguments
    for node in nodes:
        if isinstance(node, ast.Assert):
            checked = [node.test]
        elif isinstance(node, ast.Call) and "assert" in ast.dump(node.func):
            checked = node.args
        else:
            continue
        if used(node).isdisjoint(results) and not used(node).isdisjoint(arguments):
            return True
        if isinstance(checked[0], ast.Compare) and len(checked[0].comparators) == 1:
            checked = [checked[0].left, *checked[0].comparators]
        sides = [used(each) for each in checked[:2]]
        for one, other in (sides, sides[::-1]) if len(sides) == 2 else ():
            only_read = not program_calls(checked[0]) and not program_calls(checked[1])
            if one & arguments and only_read and other.isdisjoint(results | arguments):
                return True
    return False


def copy_changes(ours: Any, theirs: Any) -> None:
    """Make a container of the tests equal to the program's changed copy."""
    if type(ours) is not type(theirs) or ours == theirs:
        return
    if isinstance(ours, list):
        ours[:] = theirs
    elif isinstance(ours, dict | set):
        ours.clear()
        ours.update(theirs)


# Plain data, as JSON.


def encode(value: Any, other: Callable[[Any], Any]) -> Any:
    """Return a value as JSON that keeps its types. other: encodes a value that is not plain data."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < 10_000 else {"int": hex(value)}
    if isinstance(value, list):
        return [encode(each, other) for each in value]
    if isinstance(value, tuple | set | frozenset | deque):
        kind = next(kind for kind in COLLECTIONS if isinstance(value, COLLECTIONS[kind]))
        return {kind: [encode(each, other) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(each, other) for each in pair] for pair in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if REDUCED.get(type(value).__name__) is type(value):
        return {type(value).__name__: encode(list(value.__reduce__()[1]), other)}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), other)
    return other(value)


COLLECTIONS: dict[str, Any] = {each.__name__: each for each in (tuple, set, frozenset, deque)}
REDUCED: dict[str, Any] = {  # types whose `__reduce__` gives plain arguments
    each.__name__: each for each in (range, Fraction, Decimal, date, datetime, timedelta)
}


def decode(data: Any, others: dict[str, Callable[[int], Any]]) -> Any:
    if isinstance(data, list):
        return [decode(each, others) for each in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind in COLLECTIONS:
        return COLLECTIONS[kind](decode(each, others) for each in content)
    if kind in REDUCED:
        return REDUCED[kind](*decode(content, others))
    if kind == "dict":
        return {decode(key, others): decode(value, others) for key, value in content}
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    return others[kind](content)


def of_numpy(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")

"""The jobs of `rewards.code`, each in a sandbox: a program, or the tests of one.

A program reads stdin and prints, or its functions are called from outside. Tests that are code run in a
sandbox of their own: what they take from the program is there a stand-in, whose calls go out, over to the
program, and come back as plain data. So nothing of a program is ever in the process that judges it.
"""

import ast
import builtins
import json
import operator
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from itertools import count
from types import ModuleType
from typing import Any

NOTHING = (ast.Pass, ast.Import, ast.ImportFrom)
# LeetCode's programs have them without an import.
LEETCODE = "typing collections heapq bisect math itertools functools re string".split()
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def main(request: dict[str, Any], channel: Any) -> None:
    if request["run"] == "tests":
        channel.send(Tests(channel).judge(**request["tests"]))
    else:
        run(request["program"], request["run"] == "functions", channel)


# Programs.


def run(source: str, functions: bool, channel: Any) -> None:
    """Say what is wrong with a program, "" for nothing; then run it, and answer for its functions."""
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
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # of `site`, which is not imported
    exec(compile(tree, "program.py", "exec"), module.__dict__)
    program = Program(module, channel)
    while functions and (asked := channel.receive()) is not None:
        channel.send(program.answer(asked))


def give_public_names(module: ModuleType) -> None:
    """Let a program use them without an import. As builtins, they do not pass for its own functions."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]
    for name in (module.__name__, *public):
        value = sys.modules[name] if name == module.__name__ else getattr(module, name)
        vars(builtins).setdefault(name, value)


def parse(source: str) -> tuple[Any, str]:
    """A program's syntax tree, and "syntax_error" or "empty_program"."""
    try:
        tree = ast.parse(source, "program.py")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, "syntax_error"
    return tree, "" if any(map(does_something, tree.body)) else "empty_program"


def does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, DEFINED):
        return any(map(does_something, statement.body))
    says = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return not says and not isinstance(statement, NOTHING)


class Program:
    """The program's side of a test: does what it is asked, and answers in plain data."""

    def __init__(self, module: ModuleType, channel: Any):
        self.module, self.channel = module, channel
        self.held: list[Any] = []

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return getattr(self, asked.pop("do"))(**asked)  # type: ignore[no-any-return]
        except BaseException as error:
            return {"raised": type(error).__name__, "says": str(error)[:1000]}

    def plain(self, name: str, arguments: list[Any]) -> dict[str, Any]:
        """What a function, or a method of `Solution`, returns for JSON's data, as JSON's data."""
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
        return {"value": self.encode(getattr(self.held[of], name))}

    def apply(self, function: str, of: int, arguments: Any) -> dict[str, Any]:
        """A builtin function, or an operator, of what is held."""
        known = getattr(operator, function, None) or getattr(builtins, function)
        try:
            return {"value": self.encode(known(self.held[of], *self.decode(arguments)))}
        except StopIteration:
            if function == "next":
                return {"ended": True}
            raise

    def call(self, of: int, arguments: Any, keywords: Any) -> dict[str, Any]:
        given = self.decode(arguments)
        value = self.held[of](*given, **self.decode(keywords))
        # A list that was sorted in place is sorted for the tests as well.
        return {"value": self.encode(value), "arguments": self.encode(given)}

    def encode(self, value: Any) -> Any:
        return encode(value, self.hold)

    def hold(self, value: Any) -> dict[str, int]:
        self.held.append(value)
        return {"held": len(self.held) - 1}

    def decode(self, data: Any) -> Any:
        return decode(data, {"held": self.held.__getitem__, "function": self.function})

    def function(self, number: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.channel.send({"back": number, "arguments": self.encode(list(arguments))})
            return self.decode(self.channel.receive()["value"])

        return call


# Tests.


class ProgramError(Exception):
    """What a program raised that is no exception of Python's own, or may not pass for one here."""


class Tests:
    """The tests' side: asks for what the program does. Trusted, as the dataset is."""

    def __init__(self, channel: Any):
        self.channel = channel
        self.functions: list[Callable[..., Any]] = []
        self.lacks: set[str | None] = set()
        self.in_place = False
        self.seen: dict[str, dict[str, Any]] = {}
        self.items: dict[int, Items] = {}

    def judge(self, code: str, names: list[str], modules: list[str], go_on: bool) -> dict[str, Any]:
        """How many of the tests passed, of how many, and why the first that did not failed.

        A test is a statement that is no definition, and a function test_*().
        """
        namespace: dict[str, Any] = {name: import_module(name) for name in modules}
        for name in names:
            self.take(name, namespace)
        program = ModuleType("solution")
        program.__dict__.update(namespace)
        sys.modules["solution"] = program
        namespace["__name__"] = "tests"
        passed = total = 0
        reason = ""
        tree = ast.parse(code)
        self.in_place = looks_at_arguments(tree, set(names))
        for is_test, piece in pieces(tree):
            total += is_test
            if reason and not go_on:
                continue
            try:
                exec(piece, namespace)
                passed += is_test
            except AssertionError:
                reason = reason or "wrong_output"
            except Exception as error:
                lacked = {getattr(error, "name_from", None), getattr(error, "name", None)}
                missing = not self.lacks.isdisjoint(lacked)
                reason = reason or ("no_function" if missing else "runtime_error")
        return {"done": {"passed": passed, "total": total, "reason": reason}}

    def take(self, name: str, namespace: dict[str, Any]) -> None:
        answer = self.ask("name", name=name)
        if "missing" in answer:
            self.lacks.add(name)
        else:
            namespace[name] = self.decode(answer["value"])

    def read(self, lasts: bool = False, **asked: Any) -> dict[str, Any]:
        """Ask for what an object is like. Until the tests act again, it stays so; a number does always.

        Else one object could be another in each half of a comparison.
        """
        key = ("lasts " if lasts else "") + json.dumps(asked)
        if key not in self.seen:
            self.seen[key] = self.ask(**asked)
        return self.seen[key]

    def act(self, **asked: Any) -> dict[str, Any]:
        """Ask for what may change objects."""
        self.seen = {key: value for key, value in self.seen.items() if key.startswith("lasts ")}
        self.items.clear()
        return self.ask(**asked)

    def ask(self, do: str, **with_: Any) -> dict[str, Any]:
        self.channel.send({"do": do, **with_})
        answer = self.channel.receive()
        while "back" in answer:
            value = self.functions[answer["back"]](*self.decode(answer["arguments"]))
            self.channel.send({"value": self.encode(value)})
            answer = self.channel.receive()
        if "raised" in answer:
            known: Any = getattr(builtins, answer["raised"], None)
            # It would end a loop of the tests, as if there were no more to be tested.
            if known in (StopIteration, StopAsyncIteration) or not is_exception(known):
                raise ProgramError(answer["raised"], answer["says"])
            raise known(answer["says"])
        return dict(answer)

    def call(self, of: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        sent = {"arguments": self.encode(list(arguments)), "keywords": self.encode(keywords)}
        answer = self.act(do="call", of=of, **sent)
        if self.in_place:
            for ours, theirs in zip(arguments, self.decode(answer["arguments"]), strict=True):
                renew(ours, theirs)
        return self.decode(answer["value"])

    def encode(self, value: Any) -> Any:
        return encode(value, self.give)

    def give(self, value: Any) -> dict[str, int]:
        if isinstance(value, StandIn):
            return {"held": value._number}
        if not callable(value):
            raise TypeError(f"a {type(value).__name__} of the tests cannot be sent to the program")
        self.functions.append(value)
        return {"function": len(self.functions) - 1}

    def decode(self, data: Any) -> Any:
        return decode(data, {"held": lambda number: StandIn(self, number)})


def is_exception(known: Any) -> bool:
    return isinstance(known, type) and issubclass(known, Exception)


def pieces(tree: ast.Module) -> Iterator[tuple[bool, Any]]:
    """The statements of tests, compiled, and whether each is a test."""
    for node in tree.body:
        says = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        sets = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
        # What runs where the file is the program is for a runner of tests.
        runner = isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        is_test = not (says or sets or runner or isinstance(node, (*NOTHING, *DEFINED)))
        yield is_test, compile(ast.Module([node], []), "tests.py", "exec")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield True, compile(f"{node.name}()", "tests.py", "exec")


class StandIn:
    """An object of the program, in the tests. Equal to itself alone: the program has no say in that."""

    def __init__(self, tests: Tests, number: int):
        vars(self).update(_tests=tests, _number=number)

    def __getattr__(self, name: str) -> Any:
        # Who asks for another one is a library: numpy believes what `__array_interface__` says.
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)
        answer = self._tests.read(do="attribute", of=self._number, name=name)
        return self._tests.decode(answer["value"])

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._tests.call(self._number, arguments, keywords)

    def __iter__(self) -> Any:
        items = self._tests.items
        if self._number not in items:
            answer = self._tests.read(do="apply", function="iter", of=self._number, arguments=[])
            if not isinstance(iterator := self._tests.decode(answer["value"]), StandIn):
                return iter(iterator)
            items[self._number] = Items(iterator)
        return items[self._number].replay()

    def __contains__(self, item: Any) -> bool:
        return item in list(self)  # All items: one without an end contains any number.


class Items:
    """What an iteration of an object gave: the same for each that looks, as long as it does not change."""

    def __init__(self, iterator: Any):
        self._iterator, self._known = iterator, list[Any]()

    def replay(self) -> Iterator[Any]:
        for place in count():
            if place == len(self._known):
                try:
                    self._known.append(next(self._iterator))
                except StopIteration:
                    return
            yield self._known[place]


def forward(function: str) -> Callable[..., Any]:
    def method(self: StandIn, *arguments: Any) -> Any:
        sent = self._tests.encode(list(arguments))
        asked = {"do": "apply", "function": function, "of": self._number, "arguments": sent}
        if function in ("bool", "len", "getitem", "str", "repr"):
            answer = self._tests.read(**asked)
        elif function in ("int", "float", "abs"):
            answer = self._tests.read(lasts=True, **asked)
        else:
            answer = self._tests.ask(**asked) if function == "next" else self._tests.act(**asked)
        if "ended" in answer:
            raise StopIteration
        return self._tests.decode(answer["value"])

    return method


for each in "len next getitem setitem delitem setattr str repr bool int float abs".split():
    setattr(StandIn, f"__{each}__", forward(each))


def looks_at_arguments(tree: ast.Module, names: set[str]) -> bool:
    """Whether tests hold a variable that they gave to the program against something else than its answer.

    Only then they see what the program did to it: `x = [2, 1]; f(x); assert x == [1, 2]`. Else a
    program could empty `x` before `assert f(x) == sorted(x)` reads it.
    """
    nodes = list(ast.walk(tree))
    program = names | {node.arg for node in nodes if isinstance(node, ast.arg)}

    def calls(node: ast.AST) -> list[ast.Call]:
        found = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
        return [each for each in found if not used(each.func).isdisjoint(program)]

    def used(node: ast.AST) -> set[str]:
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}

    given = {
        name
        for call in calls(tree)
        for each in (*call.args, *(word.value for word in call.keywords))
        for name in used(each)
    } - program
    answers = set(program)
    for node in nodes:
        if isinstance(node, ast.Assign) and not used(node.value).isdisjoint(answers):
            answers |= {name for target in node.targets for name in used(target)} - given
    for node in nodes:
        if isinstance(node, ast.Assert):
            held = [node.test]
        elif isinstance(node, ast.Call) and "assert" in ast.dump(node.func):
            held = node.args
        else:
            continue
        if used(node).isdisjoint(answers) and not used(node).isdisjoint(given):
            return True
        if isinstance(held[0], ast.Compare) and len(held[0].comparators) == 1:
            held = [held[0].left, *held[0].comparators]
        sides = [used(each) for each in held[:2]]
        for one, other in (sides, sides[::-1]) if len(sides) == 2 else ():
            seen = one & given and not calls(held[0]) and not calls(held[1])
            if seen and other.isdisjoint(answers | given):
                return True
    return False


def renew(ours: Any, theirs: Any) -> None:
    """Do to a container what the program did to its copy of it."""
    if type(ours) is not type(theirs) or ours == theirs:
        return
    if isinstance(ours, list):
        ours[:] = theirs
    elif isinstance(ours, dict | set):
        ours.clear()
        ours.update(theirs)


# Plain data, as JSON.


def encode(value: Any, other: Callable[[Any], Any]) -> Any:
    """Plain data, as JSON that keeps its types; `other` says what stands for anything else."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < 10_000 else {"int": hex(value)}
    if isinstance(value, list):
        return [encode(each, other) for each in value]
    if isinstance(value, tuple | set | frozenset | deque):
        kind = next(kind for kind in KINDS if isinstance(value, KINDS[kind]))
        return {kind: [encode(each, other) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(each, other) for each in pair] for pair in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if type(value).__name__ in MADE and type(value) is MADE[type(value).__name__]:
        return {type(value).__name__: encode(list(value.__reduce__()[1]), other)}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), other)
    return other(value)


KINDS: dict[str, Any] = {each.__name__: each for each in (tuple, set, frozenset, deque)}
MADE: dict[str, Any] = {
    each.__name__: each for each in (range, Fraction, Decimal, date, datetime, timedelta)
}


def decode(data: Any, others: dict[str, Callable[[int], Any]]) -> Any:
    if isinstance(data, list):
        return [decode(each, others) for each in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind in KINDS:
        return KINDS[kind](decode(each, others) for each in content)
    if kind in MADE:
        return MADE[kind](*decode(content, others))
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
    raise TypeError(f"{type(value).__name__} is no plain data")

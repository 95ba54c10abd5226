"""Read the tests of programs from the forms that datasets use."""

import ast
import builtins
import json
import re
import symtable
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from axolotl_grpo_plugin.rewards.mathematics.values import are_strings
from axolotl_grpo_plugin.sandbox.program import as_text

CALLS = ("functional", "function_call")  # LiveCodeBench's and open-r1's types of function tests
# Tests that use these look at objects, or at what a function prints.
_OF_OBJECTS = re.compile(
    r"\b(vars|async|asyncio|dataclasses|inspect|redirect_stdout|StringIO|stdout|stdin|patch|Mock|MagicMock|pandas)\b"
    r"|__dict__|\btype\(.*\)\.__name__ == .[A-Z]"
)
# What only pytest runs: fixtures, marks, and functions and classes that it finds.
_ONLY_PYTEST = re.compile(
    r"^[ \t]*@.*fixture|mark\.(skip|xfail|usefix)|def (setup|teardown)_(module|function|class)\b|^[ \t]+class Test",
    re.MULTILINE,
)
# The start of tests that runs all others, which run in any case.
_RUNNER = re.compile(r"if __name__.*\b(unittest|pytest|exit)\b", re.DOTALL)
# Statements and calls that can make tests fail, in the text of their syntax tree.
_CAN_FAIL = re.compile(r"\b(Assert|Raise)\(|\b(attr|id)='(assert|raises)")
_EQUAL = ("assertEqual", "assertListEqual", "assertTupleEqual", "assertDictEqual", "assertSetEqual")

Record = dict[str, Any]
Values = list[Any]
# Its source, and the text that the program's value must have (see `as_text`).
Literal = tuple[str, str | None]


class ProgramTests(NamedTuple):
    """The tests of a program: `cases` or `code`.

    cases: pairs (stdin, output), or with a `function` pairs (arguments, return value).
    code: Python code that fails if the program is wrong.
    names: the names that the code takes from the program.
    modules: the standard modules that the code uses without an import.
    exact: compare the return value itself. As in APPS, it may otherwise be the one item of an expected list.
    own_types: the code needs the program's own types, and not only its functions.
    copies: the program gets copies of the code's values, so that it cannot change them.
    """

    cases: tuple[tuple[Any, Any], ...] = ()
    function: str = ""
    code: str = ""
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    exact: bool = False
    own_types: bool = False
    copies: bool = True

    @property
    def defined(self) -> tuple[str, ...]:
        """The names that a program should define."""
        return (self.function,) if self.function else self.names


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
    ProgramTests(cases=(('1 2', '3'),), function='', code='', names=(), modules=(), exact=False, own_types=False, copies=True)
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
        return _code("\n".join(data), "")
    if isinstance(data, list):
        return _listed(data, beside)
    if data.get("inputs"):
        return _cases(data["inputs"], data["outputs"], data.get("fn_name") or "")
    code = data.get("functional") or data["test"]
    return _code(code, data.get("entry_point") or "")


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


def _code(code: str, entry_point: str) -> ProgramTests | None:
    """Return tests that are code, or None if they cannot be judged."""
    tree = ast.parse(code)
    nodes = list(ast.walk(tree))
    own, used = _globals(symtable.symtable(code, "tests.py", "exec"))

    # Tests without an assertion would pay every program.
    can_fail = _CAN_FAIL.search(ast.dump(tree)) and not _ONLY_PYTEST.search(code)
    if not can_fail or any(_cannot_run(node, used) for node in nodes):
        return None
    # Names that neither the tests nor Python define. They are modules, or come from the program.
    free = used - own - vars(builtins).keys()
    bases = {node.value for node in nodes if isinstance(node, ast.Attribute)}
    alone = {node.id for node in nodes if isinstance(node, ast.Name) and node not in bases}
    # A module is only used with an attribute, as in `math.pi`.
    modules = (free - alone) & {"pytest", *sys.stdlib_module_names}
    types = {name for name in free - modules if name[0].isupper()}
    # Without the `np` of `np.allclose(...)`, because a program could replace it.
    wanted = free & alone | types

    if entry_point:
        start = re.split(r"\W", entry_point)[0]  # `Solution` of `Solution().add`
        if not wanted <= types | {start} and "import *" not in code:
            return None  # it is not known whether the program should define the others
        wanted.add(start)
        if "check" in own - used:
            code += f"\ncheck({entry_point})\n"
        elif start not in used:
            return None
    # Tests that use types of the program, or compare its objects with `is`, need its real objects.
    own_types = _OF_OBJECTS.search(code) is not None
    for node in nodes:
        match node:
            case ast.ImportFrom(module="solution"):
                wanted |= {alias.name for alias in node.names}
            case ast.Attribute(value=ast.Name("solution")):
                wanted.add(node.attr)
            case ast.withitem(call) if isinstance(call, ast.Name) or _names_in(call) & wanted:
                own_types = True
            case ast.Compare(ops=[ast.Is()], comparators=[ast.Name() | ast.Attribute()]):
                if "type(" not in ast.unparse(node):  # types of plain data are right without it
                    own_types = True

    wanted.discard("*")
    if not wanted:
        return None
    names_types = any(name[0].isupper() for name in wanted - {"Solution"})
    return ProgramTests(
        code=code,
        names=tuple(sorted(wanted)),
        modules=tuple(sorted(modules)),
        own_types=own_types or names_types,
        copies=not _looks_at_arguments(nodes, wanted),
    )


def _globals(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Return the global names that code sets, and the global names that it uses."""
    own, used = set(), set()
    for symbol in table.get_symbols():
        if symbol.is_global():
            name = symbol.get_name()
            if symbol.is_referenced():
                used.add(name)
            if symbol.is_assigned() or symbol.is_imported():
                own.add(name)

    # The functions and classes of the tests use global names too.
    for inner in table.get_children():
        inner_own, inner_used = _globals(inner)
        own |= inner_own
        used |= inner_used
    return own, used


def _cannot_run(node: ast.AST, used: set[str]) -> bool:
    """Return whether tests need a module that is not here, or parameters that only pytest gives."""
    match node:
        case ast.Import():
            modules = [alias.name for alias in node.names]
        case ast.ImportFrom():
            modules = [node.module or ""]
        case ast.FunctionDef(name=name) if name.startswith(("test_", "setup_")):
            if name in used or re.match("@.*patch", ast.unparse(node)):
                return False  # its caller gives the parameters
            return ast.unparse(node.args) not in ("", "self")
        case ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
            return not node.args.args
        case _:
            return False

    # The tests need the package, not only its part.
    roots = {name.partition(".")[0] for name in modules}
    return not all(map(find_spec, roots - {"solution"}))


def _looks_at_arguments(nodes: list[ast.AST], wanted: set[str]) -> bool:
    """Return whether tests compare an argument of a call with a value that the program did not make.

    Only such tests see how the program changed the argument: `x = [2, 1]; f(x); assert x == [1, 2]`.
    Otherwise a program could empty `x` before `assert f(x) == sorted(x)` reads it.
    """
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    # Names of arguments, and names of functions of the program: `check(candidate)` calls a parameter.
    given: set[str] = set()
    called = set(wanted)
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(name)) if name in parameters:
                called.add(name)
    # These functions, and the names of their results.
    made = set(called)
    for node in nodes:
        match node:
            case ast.Call() if _names_in(node.func) & made:
                given |= _names_in(node)
            case ast.Assign(targets=[target]) if _names_in(node.value) & made:
                made |= _names_in(target)
    for node in nodes:
        match node:
            case (
                ast.Assert(test=checked) | ast.Expr(value=ast.Call(func=ast.Attribute()) as checked)
            ):
                names = _names_in(checked)
                # `assert x[:count] == [1, 2]` compares with a literal, though `count` was returned.
                sides = ast.iter_child_nodes(checked)
                is_apart = (
                    any(isinstance(side, ast.Constant | ast.List) for side in sides)
                    or not names & made
                )
                if is_apart and names & (given - made) and not names & called:
                    return True
    return False


def _names_in(node: ast.AST) -> set[str]:
    """Return all names in a piece of code, without attributes."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


@lru_cache(maxsize=4096)
def hold_back(code: str) -> tuple[str, list[Literal], set[int], list[str]]:
    """Take the expected literals out of tests. Return the code without them, and the literals.

    Also return the numbers of the literals that every passing run compares and finds equal, and the imports
    of the tests, one module per statement.

    >>> hold_back("assert f(1) == 3.0")
    ('assert _held(0) == f(1)', [('3.0', '3')], {0}, [])
    """
    tree = ast.parse(code)
    tree.body = [node for node in tree.body if not _RUNNER.match(ast.unparse(node))]
    imports = []
    literals: list[Literal] = []
    vectors: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.If(ast.Compare(ast.Name("__name__"))):
                node.test = ast.Constant(True)  # it calls tests
            case ast.Import(names):
                imports += [f"import {alias.name}" for alias in names if alias.name != "solution"]
            case ast.ImportFrom(module) if module != "solution":
                imports.append(ast.unparse(node))
            case ast.Attribute(value=value):
                # `(f(x) == [1, 2]).all()` compares the values of an array one by one.
                vectors.update(ast.walk(value))
            # A chain such as `1 < f(x) < 3` has no stand-in.
            case ast.Compare(left, [ast.Eq() | ast.NotEq()], [right]) if node not in vectors:
                node.left, *node.comparators = _held(literals, [left, right])
            case ast.Call(ast.Attribute(attr=name) as method, [left, right, *rest]) if (
                name in _EQUAL
            ):
                # The others first check the type, which a stand-in has not.
                method.attr = "assertEqual"
                node.args = [*_held(literals, [left, right]), *rest]
    certain: set[int] = set()
    if not re.search(r"\b(return\b|skip|\w*exit\()", code):  # it may end early
        certain = _compared(tree.body)
    return ast.unparse(tree), literals, certain, imports


def _held(literals: list[Literal], sides: list[ast.expr]) -> list[ast.expr]:
    """Return both sides of a comparison. If one is a literal, its stand-in is on the left."""
    for side in sides:
        with suppress(ValueError, TypeError):
            text = as_text(ast.literal_eval(side))
            # The place of the literal in the list is all that the tests know.
            number = ast.Constant(len(literals))
            literals.append((ast.unparse(side), text))
            sides.remove(side)
            stand_in = ast.Call(ast.Name("_held"), [number], [])
            return [stand_in, *sides]
    return sides


def _compared(body: list[ast.stmt]) -> set[int]:
    """Return the numbers of the literals that statements, and the tests among them, always compare."""
    numbers, tests = set(), {}
    for node in body:
        match node:
            case ast.Assert(ast.Compare(held, [ast.Eq()])) | ast.Expr(
                ast.Call(ast.Attribute(attr="assertEqual"), [held, *_])
            ):
                match held:
                    case ast.Call(ast.Name("_held"), [ast.Constant(int(number))]):
                        numbers.add(number)
            case ast.FunctionDef(name, decorator_list=[]) | ast.ClassDef(name, decorator_list=[]):
                if re.match("check$|test_|Test", name):
                    tests[name] = _compared(node.body)  # the last one of a name
    return numbers.union(*tests.values())

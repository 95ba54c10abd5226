"""Read tests that are Python code: which names they take from the program, and how they must run."""

import ast
import builtins
import symtable
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

# Tests that use these look into objects, or share the state of the process with the program: its output,
# its warnings, its environment. So they need the program in their own process.
SHARED = {
    *("asyncio", "concurrent", "threading", "pandas", "types"),
    *("mock", "Mock", "MagicMock", "patch", "stdin", "stdout", "stderr", "StringIO"),
    *("redirect_stdout", "redirect_stderr", "assertLogs", "assertWarns", "warns", "warnings"),
    *("environ", "chdir", "seed", "argv"),
    *("inspect", "dataclasses", "vars", "__dict__", "__class__", "__cause__"),
}
# Only pytest runs fixtures, these marks, and functions with these names.
PYTEST_MARKS = {"fixture", "skip", "skipif", "xfail", "usefixtures"}
PYTEST_HOOKS = {
    f"{step}_{scope}" for step in ("setup", "teardown") for scope in ("module", "function", "class")
}
# The runners of tests. Their calls are not needed, because all tests run in any case.
RUNNERS = {"unittest", "pytest", "exit"}


class ProgramTests(NamedTuple):
    """The tests of a program: `cases` or `code`.

    cases: pairs (stdin, output), or with a `function` pairs (arguments, return value).
    code: Python code that fails if the program is wrong.
    names: the names that the code takes from the program.
    modules: the standard modules that the code uses without an import.
    exact: compare the return value itself. As in APPS, it may otherwise be the one item of an expected list.
    together: the code needs the program's real objects, so both run in one process.
    sees_changes: the code looks at changes that a function made to its arguments.
    """

    cases: tuple[tuple[Any, Any], ...] = ()
    function: str = ""
    code: str = ""
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    exact: bool = False
    together: bool = False
    sees_changes: bool = False

    @property
    def defined(self) -> tuple[str, ...]:
        """The names that a program should define."""
        return (self.function,) if self.function else self.names


def read_suite(code: str, entry_point: str) -> ProgramTests | None:
    """Return tests that are code, or None if they cannot be judged.

    entry_point: the tested function, for code that defines `check(candidate)` and does not call it.

    Raises: SyntaxError if the code is no Python.
    """
    tree = ast.parse(code)
    nodes = list(ast.walk(tree))
    assigned, used = _global_names(symtable.symtable(code, "tests.py", "exec"))
    # Tests without an assertion would pay every program.
    if not any(map(_can_fail, nodes)):
        return None
    if any(_needs_pytest(node, used) for node in nodes) or not _can_import(tree):
        return None

    # Names that neither the tests nor Python define. They are modules, or come from the program.
    free = used - assigned - vars(builtins).keys()
    bases = {node.value for node in nodes if isinstance(node, ast.Attribute)}
    alone = {node.id for node in nodes if isinstance(node, ast.Name) and node not in bases}
    # A module is only used with an attribute, as in `math.pi`.
    modules = (free - alone) & {"pytest", *sys.stdlib_module_names}
    types = {name for name in free - modules if name[0].isupper()}
    # Without the `np` of `np.allclose(...)`, because a program could replace it.
    wanted = free & alone | types

    if entry_point:
        start = entry_point.partition(".")[0].partition("(")[0]  # `Solution` of `Solution().add`
        if not wanted <= types | {start} and not _imports_all(nodes):
            return None  # it is not known whether the program should define the others
        wanted.add(start)
        if "check" in assigned - used:
            code += f"\ncheck({entry_point})\n"
            ast.parse(code)  # raises SyntaxError if the entry point is no Python
        elif start not in used:
            return None
    wanted = (wanted | _taken_from_solution(nodes)) - {"*"}
    if not wanted:
        return None
    return ProgramTests(
        code=code,
        names=tuple(sorted(wanted)),
        modules=tuple(sorted(modules)),
        together=_needs_objects(nodes, wanted),
        sees_changes=_looks_at_arguments(nodes, wanted),
    )


def _global_names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Return the global names that code sets, and the global names that it uses."""
    assigned, used = set(), set()
    for symbol in table.get_symbols():
        if symbol.is_global():
            name = symbol.get_name()
            if symbol.is_referenced():
                used.add(name)
            if symbol.is_assigned() or symbol.is_imported():
                assigned.add(name)

    # The functions and classes of the tests use global names too.
    for inner in table.get_children():
        inner_assigned, inner_used = _global_names(inner)
        assigned |= inner_assigned
        used |= inner_used
    return assigned, used


def _can_fail(node: ast.AST) -> bool:
    """Return whether a node can make tests fail: `assert`, `raise`, `self.assertEqual` or `pytest.raises`."""
    match node:
        case ast.Assert() | ast.Raise():
            return True
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.startswith(("assert", "raises"))
    return False


def _needs_pytest(node: ast.AST, used: set[str]) -> bool:
    """Return whether a node is a test or a hook that only pytest can run. used: names that the tests use."""
    match node:
        case ast.Attribute(value=ast.Attribute(attr="mark"), attr=name):
            return name in PYTEST_MARKS
        case ast.ClassDef():
            return any(
                isinstance(inner, ast.ClassDef) and inner.name.startswith("Test")
                for inner in node.body
            ) or _has_pytest_mark(node)
        case ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
            return not node.args.args or _has_pytest_mark(node)
        case ast.FunctionDef(name=name):
            if name in PYTEST_HOOKS or _has_pytest_mark(node):
                return True
            if not name.startswith(("test_", "setup_")) or name in used:
                return False  # it is no test, or its caller gives the parameters
            is_patched = any("patch" in ast.unparse(each) for each in node.decorator_list)
            return not is_patched and ast.unparse(node.args) not in ("", "self")
    return False


def _has_pytest_mark(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        words = ast.unparse(function).split(".")
        if words[-1] in PYTEST_MARKS and words[0] != "unittest":
            return True
    return False


def _can_import(tree: ast.Module) -> bool:
    """Return whether all modules of the tests are here."""
    modules = {statement.split()[1] for statement in _imports(tree)}
    # The tests need the package, not only its part.
    return all(find_spec(module.partition(".")[0]) for module in modules)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield import statements with one module each. Leave out imports of the program."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (f"import {each.name}" for each in names if each.name != "solution")
            case ast.ImportFrom(module) if module != "solution":
                yield ast.unparse(node)


def _imports_all(nodes: list[ast.AST]) -> bool:
    return any(isinstance(node, ast.alias) and node.name == "*" for node in nodes)


def _taken_from_solution(nodes: list[ast.AST]) -> set[str]:
    """Return the names that the tests take from the module `solution`, which is the program."""
    names = set()
    for node in nodes:
        match node:
            case ast.ImportFrom(module="solution"):
                names |= {alias.name for alias in node.names}
            case ast.Attribute(value=ast.Name("solution")):
                names.add(node.attr)
    return names


def _needs_objects(nodes: list[ast.AST], wanted: set[str]) -> bool:
    """Return whether tests need the program's real objects. wanted: the names that they take from it."""
    if any(name[0].isupper() for name in wanted - {"Solution"}):
        return True  # a class, or a constant that the program may change
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                if SHARED & set(name.split(".")):
                    return True
            case ast.ImportFrom(module=str(module)):
                if SHARED & set(module.split(".")):
                    return True
            case ast.AsyncFunctionDef() | ast.Await():
                return True
            case ast.withitem(manager) if isinstance(manager, ast.Name) or (
                _names_in(manager) & wanted
            ):
                return True
            # `f(x) is x`; in `type(f(x)) is int` the types of data are right in any case.
            case ast.Compare(left, [ast.Is()], [ast.Name() | ast.Attribute()]):
                if "type" not in _names_in(left):
                    return True
            # `type(f(x)).__name__ == "Point"`
            case ast.Compare(ast.Attribute(attr="__name__"), _, [ast.Constant(str(name))]):
                if name[:1].isupper():
                    return True
    return False


def _looks_at_arguments(nodes: list[ast.AST], wanted: set[str]) -> bool:
    """Return whether tests compare an argument of a call with a value that the program did not make.

    Only such tests see how the program changed the argument: `x = [2, 1]; f(x); assert x == [1, 2]`.
    Otherwise a program could empty `x` before `assert f(x) == sorted(x)` reads it.
    """
    # The functions of the program, and parameters that are called: `check(candidate)` calls one.
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    called = {
        node.func.id
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in parameters
    }
    functions = wanted | called
    # The names of their results, and the names in their arguments.
    results = set(functions)
    arguments: set[str] = set()
    for node in nodes:
        match node:
            case ast.Call(function) if _names_in(function) & results:
                arguments |= _names_in(node)
            case ast.Assign([target], value) if _names_in(value) & results:
                results |= _names_in(target)
    for node in nodes:
        match node:
            case ast.Assert(check) | ast.Expr(ast.Call(ast.Attribute()) as check):
                names = _names_in(check)
                if names & functions or not names & (arguments - results):
                    continue
                # `assert x[:count] == [1, 2]` compares with a literal, though `count` was returned.
                sides = ast.iter_child_nodes(check)
                has_literal = any(isinstance(side, ast.Constant | ast.List) for side in sides)
                if has_literal or not names & results:
                    return True
    return False


def _names_in(node: ast.AST) -> set[str]:
    """Return all names in a piece of code, without attributes."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


@lru_cache(maxsize=4096)
def prepare(tests: ProgramTests) -> tuple[str, tuple[str, ...]]:
    """Return the code without its own runner, and its import statements.

    >>> prepare(ProgramTests(code="import math\\nassert f(1) == math.pi"))
    ('import math\\nassert f(1) == math.pi', ('import math',))
    """
    imports = "".join(f"import {name}\n" for name in tests.modules)
    tree = ast.parse(imports + tests.code)
    tree.body = [node for node in tree.body if not _is_runner(node)]
    for node in ast.walk(tree):
        match node:
            case ast.If(ast.Compare(ast.Name("__name__"))):
                node.test = ast.Constant(True)  # it calls tests
    return ast.unparse(tree), tuple(_imports(tree))


def _is_runner(node: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__":` with a call of a runner of tests."""
    match node:
        case ast.If(ast.Compare(ast.Name("__name__"))):
            return any(
                RUNNERS & set(ast.unparse(each.func).split("."))
                for each in ast.walk(node)
                if isinstance(each, ast.Call)
            )
    return False

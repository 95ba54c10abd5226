"""A folder of the package imports only folders below it. docs/architecture.md has the plan."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "axolotl_grpo_plugin"
FILES = sorted(PACKAGE.rglob("*.py"))
# From the top. The entry points are above all folders, and the other single modules are below.
ENTRY_POINTS = ("__init__", "cli", "plugin", "trl")
FOLDERS = """
cloud commands rehearsal evaluate checks viewer training environments trying serving scoring stats report repairs data transforms
recipes rewards sandbox quickstart runlog output""".split()
HEAVY = {"axolotl", "torch", "transformers", "trl", "vllm"}


def level(parts):
    """Return the level of a module, 0 for an entry point. A lower level has a higher number."""
    if parts[0] in ENTRY_POINTS:
        return 0
    return FOLDERS.index(parts[0]) + 1 if parts[0] in FOLDERS else len(FOLDERS) + 1


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        assert not getattr(node, "level", 0), f"{file}: write the full name of the package"
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_folder_has_a_level():
    folders = {file.relative_to(PACKAGE).parts[0] for file in FILES if file.parent != PACKAGE}
    assert folders == {*FOLDERS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_only_lower_levels(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    for name in imports(file):
        if name.startswith(f"{PACKAGE.name}."):
            above = level(name.split(".")[1:]) < level(parts)
            assert not above, f"{'/'.join(parts)} imports {name}"


def test_rewards_and_transforms_import_no_trainer():
    files = [PACKAGE / f"{name}.py" for name in ("completions", "reward", "load")]
    for file in [*files, *PACKAGE.glob("rewards/**/*.py"), *PACKAGE.glob("transforms/*.py")]:
        assert HEAVY.isdisjoint(name.split(".")[0] for name in imports(file)), file


def module_of(file):
    """Return the dotted name of a file's module."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_files_import_each_other_in_a_circle():
    files = {module_of(file): file for file in FILES}
    graph = {}
    for name, file in files.items():
        imported = {part if part in files else part.rpartition(".")[0] for part in imports(file)}
        graph[name] = imported & files.keys() - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_two_modules_have_a_class_of_the_same_name():
    names = Counter()
    for file in FILES:
        tree = ast.parse(file.read_text())
        names.update(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []

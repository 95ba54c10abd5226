"""Imports run one way: a folder of the package imports only folders below it. docs/architecture.md has the plan."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "axolotl_grpo_plugin"
# From the top. A module that is in no folder is the ground floor, but for the entry points.
ENTRY_POINTS = ("__init__", "__main__", "cli", "plugin")
FLOORS = (
    "cloud",
    "commands",
    "checks",
    "training",
    "serving",
    "scoring",
    "stats",
    "transforms",
    "rewards",
    "sandbox",
    "quickstart",
)
HEAVY = {"axolotl", "torch", "transformers", "trl", "vllm"}


def place(parts):
    """The floor of a module, 0 for an entry point."""
    if parts[0] in ENTRY_POINTS:
        return 0
    return FLOORS.index(parts[0]) + 1 if parts[0] in FLOORS else len(FLOORS) + 1


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_folder_has_a_floor():
    assert {file.parent.name for file in FILES} == {PACKAGE.name, *FLOORS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_only_what_is_below(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    for name in imports(file):
        if name.startswith(f"{PACKAGE.name}."):
            above = place(name.split(".")[1:]) < place(parts)
            assert not above, f"{'/'.join(parts)} imports {name}"


@pytest.mark.parametrize("folder", ["rewards", "transforms"])
def test_rewards_and_transforms_import_no_trainer(folder):
    ground = [
        PACKAGE / f"{name}.py" for name in ("completions", "reward", "load", "latex", "exact")
    ]
    for file in [*ground, *(PACKAGE / folder).glob("*.py")]:
        assert HEAVY.isdisjoint(name.split(".")[0] for name in imports(file)), file

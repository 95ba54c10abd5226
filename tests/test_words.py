"""The project's prose follows its rules: code, documents, configs and test names."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = [*sorted(ROOT.glob("axolotl_grpo_plugin/**/*.py")), *sorted(ROOT.glob("tools/**/*.py"))]
CODE += [*sorted(ROOT.glob("benchmarks/*.py")), ROOT / "stats.py"]
TESTS = sorted(ROOT.glob("tests/**/*.py"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
YAMLS = [ROOT / "cloud.yaml", *sorted(ROOT.glob("configs/**/*.yaml"))]
LONGEST_SENTENCE = 30  # words

RIDDLES = {
    "a word of this house: fix": r"\bmend(?:s|ed|ing)?\b",
    "headless 'what': name the thing": r"(?:^|[.;:(,] )What (?!is |are |was |does |do |if )[a-z]+ |\b(?:of|for|from|with|than|to|as|and) what (?!to\b)[a-z]+",
    "headless 'those that', 'whoever'": r"\b[Tt]hose (?:that|which|who)\b|\b[Ww]hoever\b|\bof whom\b",
    "'is none': say what it is": r"(?<!there )\b(?:is|are|was|be) none\b|\bnone is\b|\bof none\b",
    "'where' for 'if'": r"(?:[0-9]|None|\"\"|''|empty|[Tt]rue|[Ff]alse),? where\b|^Where (?!to\b)|[.;:] Where (?!to\b)|\bwhere (?:it|there|that|one|they|no|none|nothing) ",
    "'for' for 'because'": r", for (?:it|they|there|we|he|one|neither|nothing|none|some|only|no|any|most|these|those|which) ",
    "'one's own'": r"\b[Oo]ne's own\b",
}


def prose(path: Path) -> list[tuple[int, str]]:
    """Return the comments and strings of a Python file, or the text of another, with line numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        lines = enumerate(text.split("\n"), 1)
        return [(number, line.partition("#")[2].strip()) for number, line in lines if "#" in line]
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
        return list(enumerate(re.sub(r"`[^`\n]*`", "``", text).split("\n"), 1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, tokenize.FSTRING_MIDDLE):
            lines = token.string.lstrip("#rf\"' ").split("\n")
            found += [(token.start[0] + more, line.strip()) for more, line in enumerate(lines)]
    return found


@pytest.mark.parametrize("path", [*CODE, *PAGES, *YAMLS], ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_has_no_riddles(path):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {rule}: {line}"
        for number, line in prose(path)
        for rule, pattern in RIDDLES.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_have_no_long_sentence(path):
    text = "\n".join(line for _, line in prose(path))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*|#>]|[0-9]+\.) ?|\|", text)
    sentences = [each for block in blocks for each in re.split(r"(?<=[.?!:;])\s", block)]
    long = [each for each in sentences if len(each.split()) > LONGEST_SENTENCE]
    assert not long, "\n---\n".join(long)


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_of_tests_say_behaviour(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    riddles = [name for name in names if re.match(r"test_(what|where|of|in|it)_", name)]
    assert not riddles, riddles

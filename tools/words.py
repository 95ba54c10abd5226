"""Name riddles and long sentences of the project's prose: python -m tools.words

It reads code, documents and configs. The exit code is 1 if it finds something.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CODE = ("axolotl_grpo_plugin/**/*.py", "tools/*.py", "benchmarks/*.py", "stats.py")
PROSE = ("*.md", "docs/**/*.md", "cloud.yaml", "configs/**/*.yaml")
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


class Line(NamedTuple):
    """A line of prose in a file, counted from 1."""

    number: int
    text: str


def main() -> int:
    """Print what is wrong, and return the exit code."""
    faults = []
    for pattern in CODE + PROSE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT)
            if name != Path("tools/words.py"):  # its patterns are riddles
                faults += [f"{name}:{fault}" for fault in faults_of(path)]
    for fault in faults:
        print(fault)
    return min(len(faults), 1)


def faults_of(path: Path) -> Iterator[str]:
    """Yield the riddles of a file, and the long sentences of a page."""
    lines = list(prose(path))
    for line in lines:
        for rule, riddle in RIDDLES.items():
            if re.search(riddle, line.text):
                yield f"{line.number}: {rule}: {line.text}"
    if path.suffix == ".md":
        for sentence in sentences(lines):
            if len(sentence.split()) > LONGEST_SENTENCE:
                yield f" more than {LONGEST_SENTENCE} words: {sentence}"


def prose(path: Path) -> Iterable[Line]:
    """Return the comments and strings of a Python or YAML file, or the text of a page without code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return _comments_and_strings(text)
    if path.suffix == ".yaml":
        # A line without a comment stays as an empty line, so that the numbers are right.
        text = re.sub(r"^[^#\n]*#?", "", text, flags=re.M)
    else:
        text = re.sub(r"^```.*?^```", _empty_lines, text, flags=re.M | re.S)
        text = re.sub(r"`[^`\n]*`", "``", text)
    return _numbered(text, 1)


def _empty_lines(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def _comments_and_strings(code: str) -> Iterator[Line]:
    kinds = (tokenize.COMMENT, tokenize.STRING, tokenize.FSTRING_MIDDLE)
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type in kinds:
            yield from _numbered(token.string.lstrip("#rf\"' "), token.start[0])


def _numbered(text: str, first: int) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), first):
        yield Line(number, line.strip())


def sentences(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the sentences of a page. A heading, a list's entry and a table's cell end one."""
    text = "\n".join(line.text for line in lines)
    text = re.sub(r"\]\([^)]*\)", "]", text)  # links
    for block in re.split(r"\n\s*\n|\n\s*(?:[-*|#>]|[0-9]+\.) ?|\|", text):
        yield from re.split(r"(?<=[.?!:;])\s", block)


if __name__ == "__main__":
    sys.exit(main())

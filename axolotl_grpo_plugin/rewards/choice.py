r"""Multiple choice: the letter of an option, its text, or both.

`completions.find_answer` finds the answer after the thinking: in `<answer>`, else in `\boxed{}`, else after `####`,
else in a line "Answer: ...". An answer names one option: "D", "(D)", "D)", "Option D", "\textbf{(D)}", "D. Paris",
or "Paris" if the row has the options. A letter beside the text of another option is a contradiction. "A or D" and
"not D" name no option. If the gold has several letters, the answer has the same ones in any order.
"""

import json
import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import find_answer, in_ascii, without_marks
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.mathematics.values import normal

_LONGEST = 2_000  # characters of an answer
_LETTERS = ascii_uppercase[:10]  # of rows without options
_STYLED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|textrm|textsf)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"(?:\\[ ,;:!]|\\quad|\\qquad|~|\s)+")
# Words before a letter that change nothing: "The correct answer is option D".
_BEFORE = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:it(?:'s| is)\s+)?(?:the\s+)?(?:(?:final|correct|right|best)\s+)*"
    r"(?:(?:answer|option|choice|letter)s?\b\s*)*(?:(?:is|are)\b\s*)?[:=]?\s*(?:(?:option|choice|letter)s?\b\s*)?"
    "(?:(?:正确)?答案[是为]?:?\\s*)?(?:[故应]?选项?:?\\s*)?",
    re.IGNORECASE,
)
_ONE = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?\s*[.:]?")
_WITH_TEXT = re.compile(
    r"(?:[(\[]([A-Za-z])[)\]][.:]?|([A-Za-z])[).:]|([A-Z])\s+[-\u2013\u2014=:])\s*(\S.*)", re.DOTALL
)
_BOTH = re.compile(r"both\s+", re.IGNORECASE)
_LIST = re.compile(
    r"[(\[]?[A-Z][)\]]?(?:(?:\s*,\s*(?:and\s+)?|\s*;\s*|\s+and\s+|\s*&\s*|\s+)[(\[]?[A-Z][)\]]?)+"
)
_JOINED = re.compile(r"[A-Z]{2,}")
_LETTER = re.compile(r"[A-Z]")
# A second letter, or a doubt: "D or A", "D? No, A".
_OTHERS = re.compile(
    r"\b(?:or|not|no|never|neither|nor|maybe|perhaps|unless)\b|[(\[][A-J][)\]]|\b[B-HJ]\b|\?",
    re.IGNORECASE,
)


class Choice(NamedTuple):
    """The options that an answer names.

    Attributes:
        letters: The letters in alphabetic order, "" if it names none.
        problem: "unreadable" or "contradiction" if it names none, else "".
    """

    letters: str
    problem: str = ""


def read_choice(answer: str, options: Sequence[str] = ()) -> Choice:
    """Return the letters of the options that an answer names.

    Args:
        answer: The text of the answer.
        options: The texts of the options in the order of their letters. Without them, any text may follow a letter.
    """
    known = ascii_uppercase[: len(options)] if options else _LETTERS
    texts = [_plain(option) for option in options]
    text = _plain(answer)
    if text in texts and not (len(text) == 1 and text.upper() in known):
        return _of_text(text, texts)
    rest = _spaced(answer)
    rest = rest[_BEFORE.match(rest).end() :].strip()  # type: ignore[union-attr]  # it matches ""
    if one := _ONE.fullmatch(rest):
        return _named(one[1].upper(), known)
    several = _BOTH.sub("", rest, count=1)
    if _LIST.fullmatch(several):
        return _named("".join(_LETTER.findall(several)), known)
    if beside := _WITH_TEXT.fullmatch(rest):
        letter = next(filter(None, beside.groups()[:3])).upper()
        return _beside(letter, beside[4], known, texts)
    if _JOINED.fullmatch(rest) and set(rest) <= set(known) and sorted(set(rest)) == list(rest):
        return _named(rest, known)
    if _plain(rest) in texts:
        return _of_text(_plain(rest), texts)
    return Choice("", "unreadable")


def _named(letters: str, known: str) -> Choice:
    if not set(letters) <= set(known):
        return Choice("", "unreadable")
    return Choice("".join(sorted(set(letters))))


def _of_text(text: str, texts: list[str]) -> Choice:
    """Return the option with a text. Two options of one text cannot be told apart."""
    if texts.count(text) > 1:
        return Choice("", "unreadable")
    return Choice(ascii_uppercase[texts.index(text)])


def _beside(letter: str, text: str, known: str, texts: list[str]) -> Choice:
    """Return the option of a letter with a text, which has to be the option's own."""
    if letter not in known:
        return Choice("", "unreadable")
    if not texts:
        return Choice("", "unreadable") if _OTHERS.search(text) else Choice(letter)
    plain = _plain(text)
    if plain == texts[known.index(letter)]:
        return Choice(letter)
    return Choice("", "contradiction" if plain in texts else "unreadable")


def _spaced(text: str) -> str:
    r"""Return a text without Markdown and LaTeX around its words: "\textbf{(D)}\ 15" is "(D) 15"."""
    text = in_ascii(text.strip())
    for _ in range(3):
        text = _STYLED.sub(r" \1 ", without_marks(text))
    text = text.replace("**", "").replace("$", "").replace(r"\(", "").replace(r"\)", "")
    return _SPACES.sub(" ", text).strip()


def _plain(text: str) -> str:
    return str(normal(_spaced(text).replace("$", "")))


def read_options(value: Any) -> list[str]:
    """Return the texts of options: a list, an object by letter, or its JSON text. [] for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if not isinstance(value, list | tuple):
        return []
    return [str(option) for option in value]


def read_gold_choice(solution: Any, options: Sequence[str] = ()) -> str:
    """Return the letters of a gold answer, "" if it names no option."""
    if isinstance(solution, list | tuple):
        letters = [read_choice(str(part), options).letters for part in solution]
        return "".join(sorted(set(letters))) if all(letters) else ""
    return read_choice(str(solution), options).letters


@reward(
    range=(0.0, 1.0),
    reads="solution",
    may_read="options",
    reasons=(
        "correct",
        "wrong_value",
        "contradiction",
        "unreadable",
        "no_answer",
        "truncated",
        "empty_answer",
        "several_answers",
        "too_long",
        "bad_gold",
    ),
    inline=True,
    row_problem=lambda solution: "" if str(solution or "").strip() else "the gold answer is empty",
)
def choice_reward_func(completion: str, solution: Any, options: Any = None) -> Score:
    r"""Return 1.0 if the answer names exactly the options of the gold answer, else 0.0.

    Args:
        solution: The letter of the right option, several letters ("A, C" or a list), or the option's text. If it
            names no option, the score is None.
        options: The texts of the options in order, or their JSON text, as `type: axolotl_grpo_plugin.choice` writes
            them. Without them, the text of an option alone is no answer.

    Source: the answers of MMLU, ARC, GPQA and AMC, and the contract of this module.

    >>> choice_reward_func([""], [r"It is \boxed{\textbf{(D)}\ 15}."], solution=["D"])
    [1.0]
    """
    texts = read_options(options)
    gold = read_gold_choice(solution, texts)
    if not gold:
        return Score(None, "bad_gold")

    def same(text: str) -> object:
        return read_choice(text, texts).letters or text

    answer = find_answer(completion, ["tag", "box", "hash", "line"], same, _LONGEST)
    if answer.text is None:
        return Score(0.0, answer.problem)
    choice = read_choice(answer.text, texts)
    if choice.problem:
        return Score(0.0, choice.problem, answer.text)
    is_right = choice.letters == gold
    return Score(float(is_right), "correct" if is_right else "wrong_value", answer.text)

"""Read a completion: text -> tags, answer, number.

Training, evaluation, checks and tools all read completions with this module, so a run pays for the
same answers that an evaluation counts. Each function takes time linear in the text and never raises.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, NamedTuple

TAGS = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
THINK_TAGS = ("<think>", "</think>", "<answer>", "</answer>")

_NUMBER = re.compile(r"([+-]?)[$€£]?([+-]?)((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?)\.?")
_DIGITS = re.compile(r"[0-9]+")
_WRAPPED = re.compile(
    r"(?:\*\*(.+)\*\*|`(.+)`|\$(.+)\$|\\\((.+)\\\)|\\\[(.+)\\\]|\\boxed\{(.+)\})\.?", re.DOTALL
)
_TEXT = re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}")
_PLAIN = {"\\$": "$", "\\%": "%", "\u2212": "-"}
# A unit word starts with a letter or is a sign such as "%", so an operator ("18 + x") is no unit.
_UNIT_WORD = re.compile(r"(?:[%€£¥]|°?[^\W\d_]+(?:[-/.'’][^\W\d_]+)*)[.,]?")

# Words that change the number before them, or offer a second one.
_NO_UNITS = frozenset(
    "or to and but maybe not versus hundred thousand million billion trillion k dozen half plus minus "
    "divided squared cubed factorial mod hundreds thousands millions billions trillions dozens halves "
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty "
    "seventy eighty ninety point negative wrong bn mn lakh lakhs crore crores pi thirds fourths fifths sixths "
    "sevenths eighths ninths tenths hundredths thousandths".split()
)
_LETTER_UNITS = frozenset("aCFghJKlLmNsVW")  # any other single letter is a variable, or "M"
_LONGEST_UNIT = 100  # characters: a longer text is prose


class Answer(NamedTuple):
    """The answer of a completion.

    text: the answer without outer whitespace, or None if there is no answer.
    problem: why there is no answer ("no_answer_tag", "truncated", "empty_answer", ...), else "".
    """

    text: str | None
    problem: str = ""


class Number(NamedTuple):
    """The number that an answer states.

    value: exact, or None if the answer is not one plain number.
    problem: why the value is None ("several_numbers", "not_a_number"), else "".
    """

    value: Decimal | None
    problem: str = ""


def text_of(completion: str | list[dict[str, Any]]) -> str:
    """Return the text of a completion, with "\\n" as line end and without outer whitespace.

    completion: a string, or chat messages, of which only the assistant's are read.
    """
    if not isinstance(completion, str):
        completion = "\n".join(
            _content(message) for message in completion if message.get("role") == "assistant"
        )
    return completion.replace("\r\n", "\n").replace("\r", "\n").strip()


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):  # content blocks of a multimodal chat
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def is_empty(body: str) -> bool:
    """Return whether a tag's body has no text, or only the "..." that the prompt shows."""
    return body.strip() in ("", "...")


def read_answer(text: str) -> Answer:
    """Return the text between the last `</answer>` and the nearest `<answer>` before it.

    An unclosed tag alone is "truncated". After a closed tag, an unclosed one is ignored.
    """
    close = text.rfind("</answer>")
    opening = text.rfind("<answer>", 0, max(close, 0))
    if close < 0 or opening < 0:
        return Answer(None, "truncated" if close < 0 and "<answer>" in text else "no_answer_tag")
    body = text[opening + len("<answer>") : close]
    return Answer(None, "empty_answer") if is_empty(body) else Answer(body.strip())


def read_number(answer: str) -> Number:
    r"""Return the one number that an answer states, exactly.

    A number has ASCII digits, and may have commas between groups of three, leading zeros, a sign, a
    currency sign, decimals and a final full stop. Unit words without digits may follow ("18 dollars
    per hour", `18\text{ dollars}`). `\boxed{}`, signs of mathematics, `**` and backticks may enclose
    all of it. Two numbers, an expression ("36/2"), "18x", "18M", `1e3` and `1,00` are not one number.
    """
    body = without_marks(answer)
    body = _TEXT.sub(r" \1", body).strip()
    for written, plain in _PLAIN.items():
        body = body.replace(written, plain)
    match = _NUMBER.match(body)
    if match and not (match[1] and match[2]) and _is_unit(body[match.end() :]):
        return Number(Decimal(match[1] + match[2] + match[3].replace(",", "")))
    numbers = _DIGITS.finditer(body)
    next(numbers, None)
    return Number(None, "several_numbers" if next(numbers, None) else "not_a_number")


def without_marks(answer: str) -> str:
    r"""Return an answer without up to three marks around all of it: `**$\boxed{18}$**`."""
    answer = answer.strip()
    for _ in range(3):
        if match := _WRAPPED.fullmatch(answer):
            answer = match[match.lastindex or 0].strip()
    return answer


def _is_unit(text: str) -> bool:
    # isnumeric: "½", "²" and "三" are numbers, but not digits.
    if len(text) > _LONGEST_UNIT:
        return False
    words = [word.strip(".,") for word in text.split()]
    letters = (word for word in words if len(word) == 1 and word.isalpha())
    return (
        _LETTER_UNITS.issuperset(letters)
        and all(map(_UNIT_WORD.fullmatch, text.split()))
        and _NO_UNITS.isdisjoint(map(str.lower, words))
        and not any(map(str.isnumeric, text))
    )


def is_integer_literal(answer: str) -> bool:
    """Return whether an answer is only ASCII digits, with or without "-" before them."""
    return re.fullmatch(r"-?[0-9]+", answer.strip()) is not None


def split_at_tags(text: str, tags: Sequence[str]) -> list[str]:
    """Return [text, tag, text, tag, ..., text]."""
    return re.split(f"({'|'.join(tags)})", text)


def text_after_answer(text: str) -> str:
    """Return the text after the last `</answer>`, or "" if there is no such tag."""
    return text.rpartition("</answer>")[2] if "</answer>" in text else ""


def read_blocks(text: str, tags: Sequence[str] = TAGS) -> tuple[str, str] | None:
    """Return the bodies (reasoning, answer) of a text that is exactly those two blocks, else None.

    Only whitespace may be between the blocks, and nothing around them. Each is closed exactly once.
    The reasoning may mention an opening tag.
    tags: the two of the reasoning, then the two of the answer.
    """
    _, _, opening, closing = tags
    parts = read_reasoning(text, tags)
    if parts is None:
        return None
    reasoning, tail = parts
    tail = tail.lstrip()
    if not (tail.startswith(opening) and tail.endswith(closing)):
        return None
    answer = tail.removeprefix(opening).removesuffix(closing)
    if closing in reasoning or any(tag in answer for tag in tags):
        return None
    return reasoning, answer


def read_reasoning(text: str, tags: Sequence[str]) -> tuple[str, str] | None:
    """Return the reasoning at the start of a text and the text after it, or None without reasoning.

    tags: the two of the reasoning, then any others. The first closing tag ends the reasoning.
    """
    opening, closing, *_ = tags
    head, closed, tail = text.partition(closing)
    if not (closed and head.startswith(opening)):
        return None
    return head.removeprefix(opening), tail


BOXED = 300_000
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}\\]|[{}]")


def read_boxes(text: str) -> list[str]:
    r"""Return the contents of each `\boxed{...}` in order. A box within a box is not a second one."""
    return [text[start:end].strip() for start, end in box_spans(text)]


def box_spans(text: str) -> list[tuple[int, int]]:
    r"""Return the start and the end of the contents of each outer `\boxed{...}`.

    Only the last BOXED characters of a text are read, because each brace takes time.
    """
    first = _BOX.search(text, max(0, len(text) - BOXED))
    if not first:
        return []
    opened: list[int] = []  # for each open brace, the place of its content if it is a box, else -1
    boxes: list[tuple[int, int]] = []
    for match in _BRACES.finditer(text, first.start()):
        brace = match[0]
        if brace == "}":
            start = opened.pop() if opened else -1
            if start >= 0:
                while boxes and boxes[-1][0] > start:
                    boxes.pop()
                boxes.append((start, match.start()))
        elif brace == "{":
            opened.append(-1)
        elif len(brace) > 2:
            opened.append(match.end())
    return boxes


def read_hashes(text: str) -> list[str]:
    """Return the rest of the line after each `####`, without marks around it (`#### **18**`)."""
    return [part.partition("\n")[0].strip(" \t*#") for part in text.split("####")[1:]]


def after_reasoning(text: str) -> str:
    """Return the text after the last `</think>` or `</reasoning>`, or all of it without such a tag."""
    ends = [text.rfind(tag) + len(tag) for tag in ("</think>", "</reasoning>") if tag in text]
    return text[max(ends, default=0) :]


def reasoning_of(text: str) -> str:
    """Return the text before the last `</think>` or `</reasoning>`, or "" without such a tag.

    The tags around it are removed. The opening tag may be missing, because a prompt may have it.
    """
    thinking = text.removesuffix(after_reasoning(text))
    for opening, closing in (THINK_TAGS[:2], TAGS[:2]):
        thinking = thinking.removesuffix(closing)
        thinking = thinking.partition(opening)[2] or thinking
    return thinking


Place = Literal["tag", "box", "hash", "fence"]
_MOST_TEXTS = 50  # different answers in one place that are compared with each other
# Text between two boxes of one list: "\boxed{1}$ and $x_2=\boxed{2}". It has no other number.
_BETWEEN_BOXES = re.compile(r"(?:_\{?[0-9]\}?|[^0-9]){0,60}")


def find_answer(
    text: str,
    places: Sequence[Place],
    same: Callable[[str], Any] = str,
    longest: int | None = None,
    every_tag: bool = False,
    join_boxes: bool = False,
    in_reasoning: bool = False,
) -> Answer:
    r"""Return the answer that a completion gives after its reasoning.

    The first of `places` that the text has decides. If its texts state different answers, there is
    no answer. If the text has an `<answer>` tag, only the tag is read. A box in the tag's body is
    the answer if "box" is one of the places. If the reasoning is never closed, only a tag is read.

    places: "tag" (`<answer>`), "box" (`\boxed{}`), "hash" (after `####`), "fence" (the last closed
        Markdown fence that is labelled as JSON, or not at all).
    same: maps texts that state the same answer to equal values, and a text without an answer to
        None. Such a text, or an empty one, is ignored beside others.
    longest: characters; a longer text is not an answer ("too_long").
    every_tag: compare the bodies of all tags, instead of reading the last one.
    join_boxes: read different boxes as a list if only a few words or signs are between them.
    in_reasoning: read the reasoning, too.

    Problems: "no_answer" ("no_answer_tag" if "tag" is the only place), "truncated", "empty_answer",
    "several_answers", "too_long".
    """
    missing = "no_answer_tag" if [*places] == ["tag"] else "no_answer"
    if not in_reasoning:
        text = after_reasoning(text)
    texts: list[str] = []
    has_tag = "tag" in places and ("<answer>" in text or "</answer>" in text)
    tagged = read_answer(text) if has_tag else Answer(None)
    if tagged.text is not None:
        for body in _tag_bodies(text) if every_tag else [tagged.text]:
            texts += ("box" in places and read_boxes(body)) or [body]
        text = tagged.text
    elif not in_reasoning and text.lstrip().startswith(("<think>", "<reasoning>")):
        return Answer(None, "truncated")
    elif has_tag:
        return Answer(None, tagged.problem.replace("no_answer_tag", missing))
    else:
        readers = {"tag": _tag_bodies, "box": read_boxes, "hash": read_hashes, "fence": _last_fence}
        texts = next(filter(None, (readers[place](text) for place in places)), [])
    if not texts:
        open_box = "box" in places and "\\boxed{" in text
        open_fence = "fence" in places and text.count("```") == 1
        return Answer(None, "truncated" if open_box or open_fence else missing)
    answer = _agreed(texts, same, longest)
    if answer.problem == "several_answers" and join_boxes:
        spans = [span for span in box_spans(text) if text[slice(*span)].strip()]
        between = (text[end:start] for (_, end), (start, _) in pairwise(spans))
        if spans and all(map(_BETWEEN_BOXES.fullmatch, between)):
            return _agreed([", ".join(filter(None, texts))], same, longest)
    return answer


def _agreed(texts: list[str], same: Callable[[str], Any], longest: int | None) -> Answer:
    """Return the last of several texts if all of them state the same answer."""
    different = set(texts)
    if longest and any(len(each) > longest for each in different):
        return Answer(None, "too_long")
    if len(different) > _MOST_TEXTS:
        return Answer(None, "several_answers")
    stated = {each: value for each in different if each and (value := same(each)) is not None}
    if any(value != next(iter(stated.values())) for value in stated.values()):
        return Answer(None, "several_answers")
    text = next((each for each in reversed(texts) if each in stated), texts[-1])
    return Answer(None, "empty_answer") if is_empty(text) else Answer(text)


def _tag_bodies(text: str) -> list[str]:
    """Return the text before each `</answer>`, back to the nearest `<answer>`."""
    heads = [each for each in text.split("</answer>")[:-1] if "<answer>" in each]
    return [each.rpartition("<answer>")[2].strip() for each in heads]


def _last_fence(text: str) -> list[str]:
    """Return the last closed fence that is labelled as JSON, or not at all."""
    pieces = text.split("```")
    blocks = []
    for piece in pieces[1 : len(pieces) - 1 : 2]:
        label, line_end, body = piece.partition("\n")
        if not line_end or not label.strip().isalnum():
            blocks.append(piece.strip())
        elif label.strip().lower() == "json":
            blocks.append(body.strip())
    return blocks[-1:]

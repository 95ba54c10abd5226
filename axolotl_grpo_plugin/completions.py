"""Read a completion: text -> tags, answer, number.

The one reader of the project: training, evaluation, checks and tools all use it, so what a
run pays for is what an evaluation counts. Everything here takes time linear in the length of
the text, whatever the text, and nothing here raises on what a model wrote.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

TAGS = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
THINK_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
PLACEHOLDER = "..."

_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"([+-]?)\$?([+-]?)((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?)\.?")
_DIGITS = re.compile(r"[0-9]+")
# A unit word starts with a letter or is a sign that is a unit by itself, so that an operator
# ("18 + x", "9 * 2 = 18") is never taken for one.
_UNIT_WORD = re.compile(r"(?:[%€£¥]|°?[^\W\d_]+(?:[-/.'’][^\W\d_]+)*)[.,]?")

# Words that make another number of the one before them, or a hedge.
_NO_UNITS = frozenset(
    "or to and but maybe not versus hundred thousand million billion trillion k dozen half plus minus times "
    "divided squared cubed factorial mod hundreds thousands millions billions trillions dozens halves "
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty "
    "seventy eighty ninety point negative wrong".split()
)
_LONGEST_UNIT = 100  # characters: longer is prose, and costs time


class Answer(NamedTuple):
    """The answer of a completion.

    text: what stands between the tags, outer whitespace removed; None where there is none.
    problem: why there is none ("no_answer_tag", "truncated", "empty_answer"), else "".
    """

    text: str | None
    problem: str = ""


class Number(NamedTuple):
    """The number that an answer states.

    value: exact; None where the answer is not one plain number.
    problem: why there is none ("several_numbers", "not_a_number"), else "".
    """

    value: Decimal | None
    problem: str = ""


def text_of(completion: str | list[dict[str, Any]]) -> str:
    """The text of a completion as TRL hands it over, in a normal form.

    completion: a string, or chat messages; of those the assistant's are read. Line ends
    become "\\n" and outer whitespace goes, for neither is content.
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
    """Whether a tag's body holds nothing: no text, or the "..." that the prompt shows."""
    return body.strip() in ("", PLACEHOLDER)


def read_answer(text: str) -> Answer:
    """The text between the last `</answer>` and the nearest `<answer>` before it.

    An unclosed answer was cut off and is none; a closed one followed by an unclosed one stays.
    """
    close = text.rfind("</answer>")
    opening = text.rfind("<answer>", 0, max(close, 0))
    if close < 0 or opening < 0:
        return Answer(None, "truncated" if close < 0 and "<answer>" in text else "no_answer_tag")
    body = text[opening + len("<answer>") : close]
    return Answer(None, "empty_answer") if is_empty(body) else Answer(body.strip())


def read_number(answer: str) -> Number:
    r"""The one number that an answer states, exactly.

    ASCII digits, grouped by commas or not, leading zeros allowed; a sign, a dollar sign, decimals
    and a final full stop are read; digit-free unit words may follow ("18 dollars per hour");
    the whole may stand in one `\boxed{}` or `$...$`. Two numbers, an expression that is not
    worked out ("36/2"), `1e3` or `1,00` is no number: a hedge is not an answer.
    """
    body = answer.strip()
    if body.startswith(r"\boxed{") and body.endswith("}"):
        body = body[len(r"\boxed{") : -1].strip()
    elif len(body) > 2 and body[0] == body[-1] == "$":
        body = body[1:-1].strip()
    match = _NUMBER.match(body)
    if match and not (match[1] and match[2]) and _is_unit(body[match.end() :]):
        return Number(Decimal(match[1] + match[2] + match[3].replace(",", "")))
    numbers = _DIGITS.finditer(body)
    next(numbers, None)
    return Number(None, "several_numbers" if next(numbers, None) else "not_a_number")


def _is_unit(text: str) -> bool:
    # isnumeric: "½", "²" and "三" are word characters, and digits in all but name.
    if len(text) > _LONGEST_UNIT:
        return False
    words = text.split()
    return (
        all(map(_UNIT_WORD.fullmatch, words))
        and _NO_UNITS.isdisjoint(word.strip(".,").lower() for word in words)
        and not any(map(str.isnumeric, text))
    )


def is_integer_literal(answer: str) -> bool:
    """Whether an answer is a bare integer: ASCII digits, "-" before them or not."""
    return _INTEGER.fullmatch(answer.strip()) is not None


def split_at_tags(text: str, tags: Sequence[str] = TAGS) -> list[str]:
    """text, tag, text, tag, ..., text: as many tags as the text has, each between two texts."""
    return re.split(f"({'|'.join(tags)})", text)


def bodies(text: str) -> list[str]:
    """What follows each opening tag, up to the next tag or the end of the text."""
    parts = split_at_tags(text)
    return [
        body for tag, body in zip(parts[1::2], parts[2::2], strict=True) if not tag.startswith("</")
    ]


def text_after_answer(text: str) -> str:
    """What follows the last `</answer>`; "" where there is no such tag."""
    return text.rpartition("</answer>")[2] if "</answer>" in text else ""


def read_blocks(text: str, tags: Sequence[str] = TAGS) -> tuple[str, str] | None:
    """The bodies (reasoning, answer) of a text that is exactly those two blocks, in that order.

    Only whitespace stands between them and nothing around them, and each is closed exactly
    once. An opening tag that the reasoning mentions is reasoning. None for any other text.
    tags: the reasoning's two, then the answer's two.
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
    """The reasoning that a text opens with, and what follows it; None where it opens with none.

    tags: the reasoning's two, and others. It ends where it is first closed.
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
    r"""Return the contents of each `\boxed{...}` of a text, in their order; of nested ones, of the outer."""
    return [text[start:end].strip() for start, end in box_spans(text)]


def box_spans(text: str) -> list[tuple[int, int]]:
    r"""Return the start and the end of the contents of each outer `\boxed{...}`.

    Only the last BOXED characters of a text are read, because each brace takes time.
    """
    first = _BOX.search(text, max(0, len(text) - BOXED))
    if not first:
        return []
    opened: list[int] = []  # where each open brace's content starts; -1 for one that is no box
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
    """What follows each `####`, to the end of its line, without marks around it (`#### **18**`)."""
    return [part.partition("\n")[0].strip(" \t*#") for part in text.split("####")[1:]]


def after_reasoning(text: str) -> str:
    """What follows the last `</think>` or `</reasoning>`; the whole text where there is neither."""
    ends = [text.rfind(tag) + len(tag) for tag in ("</think>", "</reasoning>") if tag in text]
    return text[max(ends, default=0) :]


def thinks_on(text: str) -> bool:
    """Whether a text opens its thinking and never closes it: what it says there is no answer yet."""
    opens, closes = ("<think>", "<reasoning>"), ("</think>", "</reasoning>")
    return text.lstrip().startswith(opens) and not any(tag in text for tag in closes)


def reasoning_of(text: str) -> str:
    """What stands before the last `</think>` or `</reasoning>`, without the tags around it; "" where there is neither.

    Its opening tag need not be there: a prompt may have it.
    """
    thinking = text.removesuffix(after_reasoning(text))
    for opening, closing in (THINK_TAGS[:2], TAGS[:2]):
        thinking = thinking.removesuffix(closing)
        thinking = thinking.partition(opening)[2] or thinking
    return thinking


_PYTHON = ("python", "py", "python3")


def read_code(text: str) -> Answer:
    """The Python program of a completion: of what follows the reasoning, the last ```python block.

    Where there is an `<answer>`, of that. Else the last block without a label, else the whole answer.
    A block is closed by a line of nothing but as many of the same marks; one that is not, was cut off.
    Problems: "no_code", "truncated", "empty_answer".
    """
    drafts = thinks_on(text)
    text = after_reasoning(text)
    answer = read_answer(text)
    if answer.text is None and answer.problem != "no_answer_tag":
        return answer
    if answer.text is None and drafts:
        return Answer(None, "truncated")
    found: dict[str, str] = {}
    opened, label, lines = "", "", list[str]()
    for line in (text if answer.text is None else answer.text).split("\n"):
        mark = line.lstrip()
        if not opened:
            fence = mark[: len(mark) - len(mark.lstrip(mark[:1]))]
            label = mark[len(fence) :].strip()
            if fence[:1] in ("`", "~") and len(fence) >= 3 and "`" not in label:
                opened, indent, lines = fence, line[: len(line) - len(mark)], []
        elif mark.startswith(opened) and not mark.strip().strip(opened[0]):
            word = label.lower().partition(" ")[0]
            found["python" if word in _PYTHON else word] = "\n".join(lines)
            opened = ""
        else:
            lines.append(line.removeprefix(indent))
    for label in ("python", ""):
        if label in found:
            return Answer(found[label])
    if opened or answer.text is None or found:
        return Answer(None, "truncated" if opened else "no_code")
    return answer

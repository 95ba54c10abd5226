"""Read a completion: text -> tags, answer, number.

The one reader of the project: training, evaluation, checks and tools all use it, so what a
run pays for is what an evaluation counts. Everything here takes time linear in the length of
the text, whatever the text, and nothing here raises on what a model wrote.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, NamedTuple

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
    """Return whether reasoning that is never closed follows the last closed one, or opens the text."""
    return after_reasoning(text).lstrip().startswith(("<think>", "<reasoning>"))


def reasoning_of(text: str) -> str:
    """What stands before the last `</think>` or `</reasoning>`, without the tags around it; "" where there is neither.

    Its opening tag need not be there: a prompt may have it.
    """
    thinking = text.removesuffix(after_reasoning(text))
    for opening, closing in (THINK_TAGS[:2], TAGS[:2]):
        thinking = thinking.removesuffix(closing)
        thinking = thinking.partition(opening)[2] or thinking
    return thinking


Place = Literal["tag", "box", "hash", "fence"]
_MOST_TEXTS = 50  # different answers in one place: they are compared with each other
# Between boxes that are one answer: "\boxed{1}$ and $x_2=\boxed{2}", but no other number.
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
    r"""Return the answer that a completion gives after its reasoning. Each reward names its policy here.

    The first of `places` that the text has decides. If its texts differ, there is no answer. An
    `<answer>` tag forbids the other places, and if "box" is among them, a box in the tag's body is
    the answer. A text whose reasoning is never closed has an answer in its tag only.

    places: "tag" (`<answer>`), "box" (`\boxed{}`), "hash" (after `####`), "fence" (a Markdown fence
        that is JSON's or has no label; the last one counts).
    same: maps texts that state the same answer to equal values, and a text that states none to
        None. Such a text, or an empty one, does not count beside others.
    longest: characters; a longer text is no answer ("too_long").
    every_tag: compare the bodies of all tags, instead of reading the last one.
    join_boxes: read different boxes as a list if only a few words or signs stand between them.
    in_reasoning: read the reasoning, too.

    Problems: "no_answer" ("no_answer_tag" if "tag" is the only place), "truncated", "empty_answer",
    "several_answers", "too_long".
    """
    said = text if in_reasoning else after_reasoning(text)
    found: list[str] = []
    if "tag" in places and ("<answer>" in said or "</answer>" in said):
        last = read_answer(said)
        if last.text is None:
            return (
                last
                if len(places) == 1
                else last._replace(problem=last.problem.removesuffix("_tag"))
            )
        tagged = _tag_bodies(said) if every_tag else [last.text]
        for body in tagged:
            found += ("box" in places and read_boxes(body)) or [body]
        said = last.text
    elif not in_reasoning and thinks_on(said):
        return Answer(None, "truncated")
    else:
        readers = {"tag": _tag_bodies, "box": read_boxes, "hash": read_hashes, "fence": _last_fence}
        found = next(filter(None, (readers[place](said) for place in places)), [])
    if not found:
        cut = ("box" in places and "\\boxed{" in said) or (
            "fence" in places and said.count("```") == 1
        )
        missing = "no_answer_tag" if len(places) == 1 and "tag" in places else "no_answer"
        return Answer(None, "truncated" if cut else missing)
    answer = _agreed(found, same, longest)
    if answer.problem == "several_answers" and join_boxes:
        spans = [span for span in box_spans(said) if said[slice(*span)].strip()]
        between = (said[end:start] for (_, end), (start, _) in pairwise(spans))
        if spans and all(map(_BETWEEN_BOXES.fullmatch, between)):
            return _agreed([", ".join(filter(None, found))], same, longest)
    return answer


def _agreed(found: list[str], same: Callable[[str], Any], longest: int | None) -> Answer:
    """Return the last of several texts, if all of them say the same."""
    different = set(found)
    if longest and any(len(each) > longest for each in different):
        return Answer(None, "too_long")
    if len(different) > _MOST_TEXTS:
        return Answer(None, "several_answers")
    stated = {each: value for each in different if each and (value := same(each)) is not None}
    if any(value != next(iter(stated.values())) for value in stated.values()):
        return Answer(None, "several_answers")
    text = next((each for each in reversed(found) if each in stated), found[-1])
    return Answer(None, "empty_answer") if is_empty(text) else Answer(text)


def _tag_bodies(text: str) -> list[str]:
    """Return the text before each `</answer>`, back to the nearest `<answer>`."""
    heads = [each for each in text.split("</answer>")[:-1] if "<answer>" in each]
    return [each.rpartition("<answer>")[2].strip() for each in heads]


def _last_fence(text: str) -> list[str]:
    """Return the last closed fence that is labelled as JSON, or not at all."""
    pieces = text.split("```")
    found = []
    for piece in pieces[1 : len(pieces) - 1 : 2]:
        label, line_end, body = piece.partition("\n")
        if not line_end or not label.strip().isalnum():
            found.append(piece.strip())
        elif label.strip().lower() == "json":
            found.append(body.strip())
    return found[-1:]


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

"""Read a completion: text -> tags, answer, number.

Training, evaluation, checks and tools all read completions with this module, so a run pays for the
same answers that an evaluation counts. Each function takes time linear in the text. Only `text_of` raises.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from axolotl_grpo_plugin.thinking import REASONING, after_thinking, is_open, text_of_message

TAGS = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
THINK_TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Codes of currencies that are no words in capitals, as ALL, TOP and TRY are.
_CODES = (
    "AED|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN|MYR|"
    "NGN|NOK|NZD|PHP|PKR|PLN|RMB|RON|RUB|SAR|SEK|SGD|THB|TWD|UAH|USD|VND|ZAR"
)
_CURRENCY = f"(?:(?:US|AU?|CA?|NZ)?\\$|[€£¥₹₩₽₺₫₪₦฿]|Rs\\.?|{_CODES})"
_NUMBER = re.compile(
    rf"([+-]?)(?:{_CURRENCY}\s?)?([+-]?)"
    r"((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
    rf"(?:\s?{_CURRENCY})?\.?"
)
_NAME = re.compile(r"([a-z]\w*(?:_\{\w+\})?)\s*=\s*", re.ASCII | re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]+")
_WRAPPED = re.compile(
    r"(?:\*\*(.+)\*\*|`(.+)`|\$(.+)\$|\\\((.+)\\\)|\\\[(.+)\\\]|\\boxed\{(.+)\})\.?", re.DOTALL
)
_TEXT = re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}")
_ESCAPED = {"\\$": "$", "\\%": "%"}
# A unit word starts with a letter or is a sign such as "%", so an operator ("18 + x") is no unit.
_UNIT_WORD = re.compile(r"(?:[%°¢]|(?:°|/(?=..))?[^\W\d_]+(?:[-/.'’][^\W\d_]+)*['’]?)[.,]?")
_WORD_ENDS = re.compile(r"[/.'’]")  # of the words in one unit word: "dozen/box"

# Words that change the number before them, deny it, or offer a second one.
_NO_UNITS = (
    "or|to|and|but|maybe|perhaps|not|no|never|versus|wrong|false|incorrect|negative|plus|minus|"
    "divided|multiplied|squared|cubed|factorial|mod|modulo|sqrt|inverse|reciprocal|point|pi|"
    "k|bn|mn|mil|doz|dz|grand|gross|half|halve|halved|halves|twice|thrice|double|doubled|doubles|"
    "triple|tripled|triples|treble|quadruple|quadrupled|quintuple|quintupled|negated|reversed|hex|octal|"
    "approximately|approx|roughly|opposite|complement|log|logarithm|bakers|th|st|nd|rd|ou|und|"
    "couple|googol|mille|mila|tausend|tys|dutzend|docenas?|douzaines?|oder"
)
_NUMERALS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|"
    "hundred|thousand|dozen|score|lakh|crore|quarter|myriad"
)
# Only their plurals are fractions: "third graders" and "18 seconds" are not.
_ORDINALS = "third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
_NO_UNIT = re.compile(
    rf"(?:{_NO_UNITS}|(?:{_NUMERALS})s?|(?:{_ORDINALS})s"
    r"|\w+(?:illi(?:on|ard)(?:s|en)?|ties|(?:teen|tie)ths|zehn|(?:lion|dred|sand)ths?)|\w*fold)"
)
# "6 times" and "6 times a day" are numbers, "6 times itself" is an expression.
_FACTOR = re.compile(
    r"\btimes\s+(?!(?:an?|per|each|every|as|more)\b)\S"
    # "16 percent more", "16 less"
    r"|(?:\bpercent|%)\s+(?:more|less|fewer|higher|lower|greater|off)\b|^\s*(?:less|fewer)$",
    re.IGNORECASE,
)
_LETTER_UNITS = frozenset("aCFghJKlLmNsVW")  # any other single Latin letter is a variable, or "M"
# Chinese for half, times, tenths, dozen, more, odd, some, about, negative, point, or, not
_NO_COUNTERS = frozenset("半倍成折打多余几约负点或非不")
_KILO = re.compile("千(?=[克米瓦焦帕卡])")  # "千克" is kilogram, and "千" alone is 1000
_LONGEST_UNIT = 100  # characters: a longer text is prose


# Full-width forms, and the dashes, spaces and punctuation of other scripts, as ASCII.
_IN_ASCII: dict[int, int | str] = dict(zip(range(0xFF01, 0xFF5F), range(0x21, 0x7F), strict=True))
_IN_ASCII |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe63"), "-")
_IN_ASCII |= dict.fromkeys([0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_IN_ASCII |= str.maketrans("\u3002\u3001\u2236\uffe5", ".,:\u00a5")


Completion = str | list[dict[str, Any]]  # a text, or chat messages
Names = Sequence[str]
Texts = list[str]
Blocks = tuple[str, str]  # reasoning and answer
Span = tuple[int, int]  # the start and the end of a text
Same = Callable[[str], object]


class Answer(NamedTuple):
    """The answer of a completion.

    Attributes:
        text: The answer without outer whitespace, or None if there is no answer.
        problem: The reason if there is no answer: "no_answer_tag", "truncated", "empty_answer" and
            so on. Otherwise "".
    """

    text: str | None
    problem: str = ""


class Number(NamedTuple):
    """The number that an answer states.

    Attributes:
        value: The exact number, or None if the answer is not one plain number.
        problem: The reason if there is no value: "several_numbers" or "not_a_number". Otherwise "".
    """

    value: Decimal | None
    problem: str = ""


def text_of(completion: Completion) -> str:
    """Return the text of a completion, with "\\n" as line end and without outer whitespace.

    Args:
        completion: A string, or chat messages, of which only the assistant's are read. A message
            without a role is the assistant's. Thinking that TRL has moved out of a message's content
            stands before it, in `<think>` marks.

    Raises:
        TypeError: The completion is neither.
    """
    if not isinstance(completion, str):
        completion = "\n".join(_answers(completion))
    return completion.replace("\r\n", "\n").replace("\r", "\n").strip()


def turns_of(prompt: Completion) -> Texts:
    """Return the text of each message of a prompt, or a prompt that is text as it is."""
    if isinstance(prompt, str):
        return [prompt]
    return [text_of([{**turn, "role": "assistant"}]) for turn in prompt]


def _answers(messages: object) -> Iterator[str]:
    """Yield the text of each message of the assistant."""
    if not isinstance(messages, list | tuple):
        raise _no_completion(messages)
    for message in messages:
        if not isinstance(message, Mapping):
            raise _no_completion(message)
        # Arrow writes None for a missing field.
        if message.get("role") in (None, "assistant"):
            yield text_of_message(message, _content(message.get("content")))


def _content(content: object) -> str:
    """Return the text of a message, which may be in parts. A tool call has no text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise _no_completion(content)
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "".join(map(_content, parts))


def _no_completion(value: object) -> TypeError:
    return TypeError(
        f"completion: {type(value).__name__} is neither text nor chat messages. "
        'Pass a string, or a list such as [{"role": "assistant", "content": "18"}].'
    )


def as_chat(prompt: Any, completion: Completion) -> Completion:
    """Return a completion as TRL passes it: a chat if the prompt is one."""
    if isinstance(prompt, list) and isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return completion


def is_empty(body: str) -> bool:
    """Return whether a tag's body has no text, or only the "..." that the prompt shows."""
    return body.strip() in ("", "...")


def read_answer(text: str) -> Answer:
    """Return the text between the last `</answer>` and the nearest `<answer>` before it.

    An unclosed tag alone is "truncated". After a closed tag, an unclosed one is ignored.
    """
    head, closing, _ = text.rpartition("</answer>")
    _, opening, body = head.rpartition("<answer>")
    if not opening:
        is_open = not closing and "<answer>" in text
        return Answer(None, "truncated" if is_open else "no_answer_tag")
    if is_empty(body):
        return Answer(None, "empty_answer")
    return Answer(body.strip())


def read_number(answer: str) -> Number:
    r"""Return the one number that an answer states, exactly.

    A number has ASCII digits, and may have commas between groups of three, leading zeros, a sign,
    decimals and a final full stop. A currency may stand before or after it ("$18", "18$", "USD 18"),
    and a name before all of it ("x = 18"). Unit words without digits may follow if they leave the
    number as it is ("18 dollars per hour", not "18 dozen"). `\boxed{}`, signs of mathematics, `**`
    and backticks may enclose all of it. Two numbers, an expression ("36/2"), "18x", "18M", `1e3` and
    `1,00` are not one number.
    """
    body = plain_number(without_marks(answer))
    body = _TEXT.sub(r" \1", body).strip()
    for written, character in _ESCAPED.items():
        body = body.replace(written, character)
    name = _NAME.match(body)
    if name and not _NO_UNIT.fullmatch(name[1].lower()):
        body = body[name.end() :]
    match = _NUMBER.match(body)
    if match and not (match[1] and match[2]) and is_unit(body[match.end() :]):
        return Number(Decimal("".join(match.groups()).replace(",", "")))
    several = len(_DIGITS.findall(body)) > 1
    return Number(None, "several_numbers" if several else "not_a_number")


def without_marks(answer: str) -> str:
    r"""Return an answer without up to three marks around all of it: `**$\boxed{18}$**`."""
    answer = answer.strip()
    for _ in range(3):
        if match := _WRAPPED.fullmatch(answer):
            answer = match[match.lastindex or 0].strip()
    return answer


_HALVES = dict(zip("½¼¾⅕⅖⅗⅘⅛⅜⅝⅞", "5 25 75 2 4 6 8 125 375 625 875".split(), strict=True))
_HALF = re.compile(rf"([0-9]*)([{''.join(_HALVES)}])")
# Between groups of three digits, where the comma is not enough: "1{{,}}000", "1\\,000", a thin space.
_GROUPING = re.compile(
    r"(?<=[0-9])(?:\{,\}|\\,|\\!|[\u00a0\u2007\u2009\u202f])(?=[0-9]{3}(?![0-9]))"
)


def plain_number(text: str) -> str:
    """Return a text with its number in ASCII, and without other grouping than commas: "1½" is "1.5"."""
    if text.isascii() and "\\" not in text and "{" not in text:
        return text
    text = _GROUPING.sub("", text)
    return in_ascii(_HALF.sub(lambda match: f"{match[1] or 0}.{_HALVES[match[2]]}", text))


def in_ascii(text: str) -> str:
    """Return a text with the digits, signs, spaces and punctuation of other scripts in ASCII.

    >>> in_ascii("\uff11\uff18\uff0e\uff15\u3002"), in_ascii("18\u2009000"), in_ascii("\u22125")
    ('18.5.', '18 000', '-5')
    """
    return text if text.isascii() else text.translate(_IN_ASCII)


def is_unit(text: str) -> bool:
    """Return whether words after a number leave it as it is: "dollars per hour", not "dozen"."""
    if not text.isascii():
        text = _KILO.sub("", text)
        if not _NO_COUNTERS.isdisjoint(text):
            return False
    # isnumeric: "½", "²" and "三" are numbers, but not digits.
    if len(text) > _LONGEST_UNIT or any(map(str.isnumeric, text)) or _FACTOR.search(text):
        return False
    for written in text.split():
        word = written.strip(".,")
        if not _UNIT_WORD.fullmatch(written) or _changes_number(word.lower()):
            return False
        if len(word) == 1 and word < "\u1100" and word.isalpha() and word not in _LETTER_UNITS:
            return False
    return True


def _changes_number(word: str) -> bool:
    """Return whether a word such as "dozen", "two-thirds" or "dozen/box" changes a number."""
    # "two-liter" is a size, "twenty-two" a number.
    return any(_NO_UNIT.fullmatch(part.rpartition("-")[2]) for part in _WORD_ENDS.split(word))


def is_integer_literal(answer: str) -> bool:
    """Return whether an answer is only ASCII digits, with or without "-" before them."""
    return re.fullmatch(r"-?[0-9]+", answer.strip()) is not None


def split_at_tags(text: str, tags: Names) -> Texts:
    """Return [text, tag, text, tag, ..., text]."""
    return re.split(f"({'|'.join(tags)})", text)


def text_after_answer(text: str) -> str:
    """Return the text after the last `</answer>`, or "" if there is no such tag."""
    _, closing, after = text.rpartition("</answer>")
    return after if closing else ""


def read_blocks(text: str, tags: Names = TAGS) -> Blocks | None:
    """Return the bodies (reasoning, answer) of a text that is exactly those two blocks, else None.

    Only whitespace may be between the blocks, and nothing around them. Each is closed exactly once.
    The reasoning may mention an opening tag.

    Args:
        text: A completion.
        tags: The two tags of the reasoning, then the two of the answer.
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


def read_reasoning(text: str, tags: Names) -> Blocks | None:
    """Return the reasoning at the start of a text and the text after it, or None without reasoning.

    Args:
        text: A completion.
        tags: The two tags of the reasoning, then any others. The first closing tag ends the
            reasoning.
    """
    opening, closing, *_ = tags
    head, closed, tail = text.partition(closing)
    if not (closed and head.startswith(opening)):
        return None
    return head.removeprefix(opening), tail


BOXED = 300_000
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}\\]|[{}]")


def read_boxes(text: str) -> Texts:
    r"""Return the contents of each `\boxed{...}` in order. A box within a box is not a second one."""
    return [text[start:end].strip() for start, end in box_spans(text)]


def box_spans(text: str) -> list[Span]:
    r"""Return the start and the end of the contents of each outer `\boxed{...}`.

    Only the last BOXED characters of a text are read, because each brace takes time.
    """
    first = _BOX.search(text, max(0, len(text) - BOXED))
    if not first:
        return []
    opened: list[int] = []  # for each open brace, the start of its content if it is a box, else -1
    boxes: list[Span] = []
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


def read_hashes(text: str) -> Texts:
    """Return the rest of the line after each `####`, without marks around it (`#### **18**`)."""
    _, *parts = text.split("####")
    return [part.partition("\n")[0].strip(" \t*#") for part in parts]


_ANSWER_LINE = re.compile(
    r"^[ \t>#*_-]*(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t*_]*[:\uff1a][ \t*_]*(\S[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
# The words of an instruction in place of an answer: "Answer: $Answer", "Answer: [your answer]".
_PLACEHOLDER = re.compile(
    r"[$<\[{(\\]*(?:(?:your|the|final)[ _]*)*(?:answer|letter|option|number|\.\.\.|\u2026)[ _]*(?:here)?[$>\]})]*",
    re.IGNORECASE,
)
_OPTION = re.compile(r"[(\[]?[A-J][)\]]?\.?")
_MOST_WORDS_OF_A_LINE = 6


def read_answer_line(text: str) -> str:
    """Return the answer of the last line such as "Answer: 42", "**Answer:** $42$" or "Final answer: (D)", else "".

    A line that repeats the placeholder of an instruction ("Answer: $Answer") states no answer.
    """
    answer = ""
    for match in _ANSWER_LINE.finditer(text):
        line = match[1].strip(" \t*_").rstrip()
        if line.endswith(".") and not line.endswith(".."):
            line = line[:-1].rstrip(" *_")
        boxes = read_boxes(line)
        if boxes:
            line = boxes[-1]
        line = without_marks(line)
        if line and not is_empty(line) and not _PLACEHOLDER.fullmatch(line):
            answer = line
    return answer


def _is_prose(line: str) -> bool:
    return len(line.split()) > _MOST_WORDS_OF_A_LINE and not line.startswith(("[", "{", "("))


def _beside_line(other: Answer, line: str, same: Same, longest: int | None) -> Answer:
    """Return the answer of another place, if the line states the same one."""
    if other.text is None:
        return other
    number = read_number(other.text).value
    if number is not None and number == read_number(line).value:
        return other
    return _agreed([other.text, line], same, longest)


def _is_option_beside(line: str, texts: Texts) -> bool:
    """Return whether a line has the letter of an option, and no other text has one."""
    others = [without_marks(text) for text in texts]
    return bool(_OPTION.fullmatch(line)) and not any(map(_OPTION.fullmatch, others))


AnswerPlace = Literal["tag", "box", "hash", "fence", "line"]
_MOST_TEXTS = 50  # different answers in one place that are compared with each other
# Text between two boxes of one list: "\boxed{1}$ and $x_2=\boxed{2}". It has no other number.
_BETWEEN_BOXES = re.compile(r"(?:_\{?[0-9]\}?|[^0-9]){0,60}")


def find_answer(
    text: str,
    places: Sequence[AnswerPlace],
    same: Same = str,
    longest: int | None = None,
    every_tag: bool = False,
    join_boxes: bool = False,
    in_reasoning: bool = False,
) -> Answer:
    r"""Return the answer that a completion gives after its reasoning.

    The first of `places` that the text has decides. If its texts state different answers, there is
    no answer. If the text has an `<answer>` tag, only the tag is read. A box in the tag's body is
    the answer if "box" is one of the places. If thinking is never closed, there is no answer. If a
    `<reasoning>` block is never closed, only a tag is read.

    Args:
        text: A completion as text.
        places: Where an answer may be: "tag" (`<answer>`), "box" (`\boxed{}`), "hash" (after `####`),
            "fence" (the last closed Markdown fence that is labelled as JSON, or not at all), "line" (the
            last line such as "Answer: 42"). Beside another place, the line has to state the same
            answer, unless it is the letter of an option and the other place has a formula.
        same: Maps texts that state the same answer to equal values, and a text without an answer to
            None. Such a text, or an empty one, is ignored beside others.
        longest: The most characters. A longer text is not an answer ("too_long").
        every_tag: Compare the bodies of all tags, instead of reading the last one.
        join_boxes: Read different boxes as a list if only a few words or signs are between them.
        in_reasoning: Read the reasoning, too.

    Returns:
        The answer, or one of the problems "no_answer" ("no_answer_tag" if "tag" is the only place),
        "truncated", "empty_answer", "several_answers" and "too_long".
    """
    missing = "no_answer_tag" if list(places) == ["tag"] else "no_answer"
    if is_open(text):
        return Answer(None, "truncated")
    if not in_reasoning:
        text = after_thinking(text)
    has_tag = "tag" in places and ("<answer>" in text or "</answer>" in text)
    tagged = read_answer(text) if has_tag else Answer(None)
    if tagged.text is not None:
        texts = _tag_bodies(text) if every_tag else [tagged.text]
        if "box" in places:
            texts = _boxes_within(texts)
        text = tagged.text
    elif not in_reasoning and text.lstrip().startswith(REASONING.opening):
        return Answer(None, "truncated")
    elif has_tag:
        return Answer(None, tagged.problem.replace("no_answer_tag", missing))
    else:
        texts = _texts_in_first(text, places)
        line = read_answer_line(text) if "line" in places else ""
        if line and (not texts or _is_option_beside(line, texts)):
            return _agreed([line], same, longest)
        if line and not _is_prose(line):
            other = _stated(text, texts, same, longest, join_boxes)
            return _beside_line(other, line, same, longest)
    if not texts:
        open_box = "box" in places and "\\boxed{" in text
        open_fence = "fence" in places and text.count("```") == 1
        return Answer(None, "truncated" if open_box or open_fence else missing)
    return _stated(text, texts, same, longest, join_boxes)


def _stated(text: str, texts: Texts, same: Same, longest: int | None, join_boxes: bool) -> Answer:
    """Return the answer that the texts of one place state."""
    answer = _agreed(texts, same, longest)
    if answer.problem == "several_answers" and join_boxes and _is_list_of_boxes(text):
        joined = ", ".join(_named_boxes(text) or [box for box in texts if box])
        return _agreed([joined], same, longest)
    return answer


def _is_list_of_boxes(text: str) -> bool:
    """Return whether only a few words or signs are between the boxes of a text."""
    spans = [span for span in box_spans(text) if text[slice(*span)].strip()]
    for (_, end), (start, _) in pairwise(spans):
        if not _BETWEEN_BOXES.fullmatch(text[end:start]):
            return False
    return bool(spans)


_NAME_BEFORE = re.compile(r"([a-zA-Z](?:_\{?[0-9]\}?)?)\s*=\s*$")


def _named_boxes(text: str) -> Texts:
    """Return boxes with the names before them ("x=\\boxed{1}"), or [] if one has no name."""
    boxes = []
    end = 0
    for start, after in box_spans(text):
        name = _NAME_BEFORE.search(_BOX.sub("", text[end:start]))
        if not name:
            return []
        boxes.append(f"{name[1]}={text[start:after].strip()}")
        end = after + 1
    return boxes


def _agreed(texts: Texts, same: Same, longest: int | None) -> Answer:
    """Return the last of several texts if all of them state the same answer."""
    different = set(texts)
    if longest and max(map(len, different)) > longest:
        return Answer(None, "too_long")
    if len(different) > _MOST_TEXTS:
        return Answer(None, "several_answers")
    stated = {}
    # One text agrees with itself.
    for text in different if len(different) > 1 else ():
        value = same(text) if text else None
        if value is not None:
            stated[text] = value
    values = list(stated.values())
    if any(value != values[0] for value in values):
        return Answer(None, "several_answers")
    last = texts[-1]
    for text in texts:
        if text in stated:
            last = text
    if is_empty(last):
        return Answer(None, "empty_answer")
    return Answer(last)


def _texts_in_first(text: str, places: Sequence[AnswerPlace]) -> Texts:
    """Return the texts in the first place that has any."""
    readers = {"tag": _tag_bodies, "box": read_boxes, "hash": read_hashes, "fence": _last_fence}
    for place in places:
        if place in readers and (texts := readers[place](text)):
            return texts
    return []


def _boxes_within(bodies: Texts) -> Texts:
    """Return the boxes in the bodies of tags, or a body itself if it has no box."""
    texts = []
    for body in bodies:
        texts += read_boxes(body) or [body]
    return texts


def _tag_bodies(text: str) -> Texts:
    """Return the text before each `</answer>`, back to the nearest `<answer>`."""
    bodies = []
    for head in text.split("</answer>")[:-1]:
        _, tag, body = head.rpartition("<answer>")
        if tag:
            bodies.append(body.strip())
    return bodies


def _last_fence(text: str) -> Texts:
    """Return the last closed fence that is labelled as JSON, or not at all."""
    for piece in reversed(text.split("```")[1:-1:2]):
        label, line_end, body = piece.partition("\n")
        label = label.strip().lower()
        if not line_end or not label.isalnum():
            return [piece.strip()]
        if label == "json":
            return [body.strip()]
    return []

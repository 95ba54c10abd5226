"""How long the prompts of a config's datasets are, and what those figures came from."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks import first_line
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.rows import (
    Row,
    Said,
    Source,
    Transform,
    Unreadable,
    read,
)
from axolotl_grpo_plugin.stats.tokenizer import Axolotls, Lazy, Tokenizer, TokenizerError
from axolotl_grpo_plugin.transforms.rows import DatasetError

GOLD = ("solution", "answer", "completion", "response")
SHOWN = 5


class Long(NamedTuple):
    """One of the longest prompts.

    length: tokens, of which plain are the messages' own text, template what the chat template adds
    around them, and generation the opening of the answer. words: how the dataset's row begins.
    """

    length: int
    row: int
    words: str
    plain: int | None
    template: int | None
    generation: int | None


@dataclass
class Measured:
    """One dataset under one tokenizer.

    prompts: tokens of each prompt as the trainer feeds it. gold: tokens of the text in gold_column.
    problems: a line each, the first few. bad: rows that are not counted. dropped: rows of which the
    transform made none. strings: prompts without a chat. without_system: some chats have no system turn.
    """

    label: str
    path: str
    split: str
    transform: str
    prompts: Lengths = field(default_factory=Lengths)
    gold: Lengths = field(default_factory=Lengths)
    gold_column: str = ""
    longest: list[Long] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bad: int = 0
    dropped: int = 0
    strings: int = 0
    without_system: bool = False
    doubled_bos: bool = False

    @property
    def name(self) -> str:
        return f"{self.label} ({self.path})"

    def fail(self, row: int, what: str) -> None:
        self.bad += 1
        line = what if what.startswith(self.label) else f"{self.name}, row {row}: {what}"
        if len(self.problems) < SHOWN and line not in self.problems:
            self.problems.append(line)


def measure(
    source: Source,
    cfg: Any,
    tokenizer: Tokenizer,
    gold: str | None = None,
    said: Said | None = None,
) -> Measured:
    """Count a dataset of a raw config. gold: the column with worked answers; None looks for one.

    What cannot be read is in the result's problems; the rest is counted.
    Raises TokenizerError where there is no template for its chats.
    """
    split, transformed = (source.entry.get(key) for key in ("split", "type"))
    found = Measured(
        source.label, source.path, str(split or "train"), str(transformed or "no transform")
    )
    longest: list[tuple[int, int, Any, Row]] = []
    try:
        transform = Transform(source, cfg, Lazy(lambda: Axolotls(cfg, tokenizer.folder).real))
        for batch in read(source, cfg, said or (lambda done, of: None), found.fail):
            rows = _prompts(batch, transform, found)
            lengths = each_of(
                lambda rows: tokenizer.prompts([prompt for _, _, prompt in rows]),
                rows,
                lambda row, error: found.fail(
                    row[0], f"the chat template fails: {type(error).__name__}: {first_line(error)}"
                ),
            )
            counted = [
                (length, -number, prompt, raw)
                for length, (number, raw, prompt) in zip(lengths, rows, strict=True)
                if length is not None
            ]
            found.prompts.add(length for length, *_ in counted)
            found.without_system |= any(
                _opens_without_system(prompt) for _, _, prompt, _ in counted
            )
            found.strings += sum(isinstance(prompt, str) for _, _, prompt, _ in counted)
            longest = heapq.nlargest(SHOWN, [*longest, *counted], key=lambda each: each[:2])
            _count_gold(batch, gold, tokenizer, found)
            if not found.prompts.rows and found.bad:
                what = f"none of the first {found.bad:,} rows can be counted: stopped there"
                found.problems.append(f"{source.name}: {what}")
                break
    except Unreadable as error:
        found.problems.append(str(error))
    if gold and not found.gold.rows:
        found.problems.append(f"{source.name}: no text in a column {gold!r}")
    found.longest = [
        _long(length, -number, prompt, raw, tokenizer) for length, number, prompt, raw in longest
    ]
    found.doubled_bos = any(_doubled_bos(prompt, tokenizer) for _, _, prompt, _ in longest)
    return found


def _prompts(
    batch: list[tuple[int, Row]], transform: Transform, found: Measured
) -> list[tuple[int, Row, Any]]:
    """Number, row and prompt of each row that has one."""

    def failed(row: tuple[int, Row], error: Exception) -> None:
        said = isinstance(error, DatasetError)
        found.fail(row[0], str(error) if said else f"{type(error).__name__}: {first_line(error)}")

    prompts = []
    for (number, raw), made in zip(batch, each_of(transform, batch, failed), strict=True):
        if made is None:
            continue
        found.dropped += not made
        for row in made:
            if wrong := problem_of(row):
                found.fail(number, wrong)
            else:
                prompts.append((number, raw, row["prompt"]))
    return prompts


def problem_of(row: Row) -> str:
    """What is wrong with a row's prompt, or ""."""
    if "prompt" not in row:
        return f'no column "prompt" (it has: {", ".join(row)}): name a transform in `type:`'
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return "" if prompt else "an empty prompt"
    if not isinstance(prompt, Sequence) or not prompt:
        return f"the prompt is no text and no chat: {prompt!r}"
    for message in prompt:
        if not isinstance(message, dict) or "role" not in message:
            return f"a message without a role: {str(message)[:60]!r}"
        content = message.get("content")
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            return (
                f"the {message['role']}'s message has parts that are no text: {str(content)[:60]}"
            )
        if not isinstance(content, str | list) and not message.get("tool_calls"):
            return f"the {message['role']}'s message is no text: {content!r}"
    return ""


def each_of(
    function: Callable[[Any], list[Any]],
    items: Sequence[Any],
    fail: Callable[[Any, Exception], None],
) -> list[Any]:
    """The function's results of all items; where that fails, of one after the other, None for what fails alone."""
    try:
        return function(items) if items else []
    except (Unreadable, TokenizerError):
        raise
    except Exception as error:  # of a transform or template of one's own
        if len(items) == 1:
            fail(items[0], error)
            return [None]
    return [made for item in items for made in each_of(function, [item], fail)]


def _count_gold(
    batch: list[tuple[int, Row]], column: str | None, tokenizer: Tokenizer, found: Measured
) -> None:
    columns = [column] if column else [name for name in GOLD if name in batch[0][1]]
    for name in columns[:1]:
        texts = [row[name] for _, row in batch if isinstance(row.get(name), str)]
        if texts:
            found.gold_column = name
            # One that cannot be encoded is no floor for anything; the prompts' own failures are said.
            counts = each_of(tokenizer.counts, texts, lambda *_: None)
            found.gold.add(count for count in counts if count is not None)


def _long(length: int, number: int, prompt: Any, raw: Row, tokenizer: Tokenizer) -> Long:
    texts = (" ".join(value.split()) for value in raw.values() if isinstance(value, str))
    # Of a row's text nothing reaches the terminal that it would obey.
    words = "".join(c for c in next(filter(None, texts), "")[:80] if c.isprintable())
    if isinstance(prompt, str) or any(not isinstance(each.get("content"), str) for each in prompt):
        return Long(length, number, words, None, None, None)
    plain = sum(tokenizer.counts([each["content"] for each in prompt]))
    try:
        (around,) = tokenizer.counts([tokenizer.text(prompt, generation_prompt=False)])
    except Exception:  # a template that will not be asked without one
        return Long(length, number, words, None, None, None)
    return Long(length, number, words, plain, around - plain, length - around)


def _opens_without_system(prompt: Any) -> bool:
    return not isinstance(prompt, str) and prompt[0]["role"] != "system"


def _doubled_bos(prompt: Any, tokenizer: Tokenizer) -> bool:
    if not tokenizer.bos:
        return False
    plain = isinstance(prompt, str)
    (ids,) = tokenizer.ids([prompt if plain else tokenizer.text(prompt)], special=plain)
    return ids[:2] == tokenizer.ids([tokenizer.bos])[0] * 2


def warnings_of(tokenizer: Tokenizer, measured: Sequence[Measured]) -> list[str]:
    """What may surprise about these prompts, a line each."""
    lines = []
    if tokenizer.template is not None and any(
        each.prompts.rows > each.strings for each in measured
    ):
        without = any(each.without_system for each in measured)
        if without and (unasked := implicit_system(tokenizer)) is not None:
            shown = f"{unasked[:80]!r}{'...' * (len(unasked) > 80)}"
            lines.append(f"the template adds a system turn to prompts that have none: {shown}")
        if any(word in str(tokenizer.template) for word in ("strftime_now", "date_string")):
            lines.append(
                "the template writes a date into the prompt: reproduce a run with its date"
            )
    for each in measured:
        if each.strings:
            lines.append(
                f"{each.label}: {each.strings:,} prompts are plain strings, which the trainer feeds without a chat template"
            )
        if each.doubled_bos:
            lines.append(f"{each.label}: prompts begin with {tokenizer.bos} twice")
        if each.dropped:
            lines.append(f"{each.label}: of {each.dropped:,} rows the transform makes no prompt")
    return [f"{tokenizer.name}: {line}" for line in lines]


def implicit_system(tokenizer: Tokenizer) -> str | None:
    """What the template's own system turn says to a chat without one (an empty one: its opening), else None.

    Found by asking: the same question with and without a system turn of its own.
    """
    asked, told = "\N{WHITE QUESTION MARK ORNAMENT}", "\N{WHITE EXCLAMATION MARK ORNAMENT}"
    question = {"role": "user", "content": asked}
    try:
        without = tokenizer.text([question])
        opening, _, rest = tokenizer.text(
            [{"role": "system", "content": told}, question]
        ).partition(told)
    except Exception:  # a template that takes no system turn has none of its own
        return None
    between = rest.partition(asked)[0]
    before = without.partition(asked)[0]
    if not rest or not opening or not before.startswith(opening) or before == opening:
        return None
    return before.removeprefix(opening).removesuffix(between) or opening

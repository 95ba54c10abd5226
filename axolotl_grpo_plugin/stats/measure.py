"""Count the prompts of a config's datasets."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from axolotl_grpo_plugin.findings import first_line
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.rows import (
    Progress,
    Row,
    Source,
    Transform,
    Unreadable,
    read,
)
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer, Tokenizer, TokenizerError
from axolotl_grpo_plugin.transforms.rows import DatasetError

GOLD = ("solution", "answer", "completion", "response")
SHOWN = 5


class Long(NamedTuple):
    """One of the longest prompts.

    length: all tokens. plain: of the messages' own text. template: of the text that the chat template
    adds. generation: of the answer's opening. words: the start of the dataset's row.
    """

    length: int
    row: int
    words: str
    plain: int | None
    template: int | None
    generation: int | None


@dataclass
class Measured:
    """One dataset counted with one tokenizer.

    prompts: tokens of each prompt as the trainer feeds it. gold: tokens of the texts in gold_column.
    problems: the first few, one line each. bad: number of rows that are not counted. dropped: number
    of rows that the transform drops. strings: number of prompts that are no chat. without_system:
    some chats have no system turn.
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
    progress: Progress | None = None,
) -> Measured:
    """Count a dataset of a raw config.

    gold: the column with worked answers, None to look for one of GOLD. Rows that cannot be read are
    listed in the result's problems, and the rest is counted.
    Raises TokenizerError if its chats have no template.
    """
    split, transformed = (source.entry.get(key) for key in ("split", "type"))
    found = Measured(
        source.label, source.path, str(split or "train"), str(transformed or "no transform")
    )
    longest: list[tuple[int, int, Any, Row]] = []
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        for batch in read(source, cfg, progress or (lambda done, of: None), found.fail):
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
    """Return number, row and prompt of each row that has a prompt."""

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
    """Return the fault of a row's prompt, "" if there is none."""
    if "prompt" not in row:
        return f'no column "prompt" (it has: {", ".join(row)}): name a transform in `type:`'
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return "" if prompt else "an empty prompt"
    if not isinstance(prompt, Sequence) or not prompt:
        return f"the prompt is neither text nor a chat: {prompt!r}"
    for message in prompt:
        if not isinstance(message, dict) or "role" not in message:
            return f"a message without a role: {str(message)[:60]!r}"
        content = message.get("content")
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            return (
                f"the {message['role']}'s message has parts that are not text: {str(content)[:60]}"
            )
        if not isinstance(content, str | list) and not message.get("tool_calls"):
            return f"the {message['role']}'s message is not text: {content!r}"
    return ""


def each_of(
    function: Callable[[Any], list[Any]],
    items: Sequence[Any],
    fail: Callable[[Any, Exception], None],
) -> list[Any]:
    """Apply the function to all items, or if that fails to one at a time. An item that fails gives None."""
    try:
        return function(items) if items else []
    except (Unreadable, TokenizerError):
        raise
    except Exception as error:  # a user's transform or template
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
            # A text that cannot be encoded is left out.
            counts = each_of(tokenizer.counts, texts, lambda *_: None)
            found.gold.add(count for count in counts if count is not None)


def _long(length: int, number: int, prompt: Any, raw: Row, tokenizer: Tokenizer) -> Long:
    texts = (" ".join(value.split()) for value in raw.values() if isinstance(value, str))
    # A row's control characters must not reach the terminal.
    words = "".join(c for c in next(filter(None, texts), "")[:80] if c.isprintable())
    if isinstance(prompt, str) or any(not isinstance(each.get("content"), str) for each in prompt):
        return Long(length, number, words, None, None, None)
    plain = sum(tokenizer.counts([each["content"] for each in prompt]))
    try:
        (around,) = tokenizer.counts([tokenizer.text(prompt, generation_prompt=False)])
    except Exception:  # a template that needs a generation prompt
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
    """Return notes on surprising facts about these prompts, one line each."""
    lines = []
    if tokenizer.template is not None and any(
        each.prompts.rows > each.strings for each in measured
    ):
        without = any(each.without_system for each in measured)
        if without and (unasked := implicit_system(tokenizer)) is not None:
            shown = f"{unasked[:80]!r}{'...' * (len(unasked) > 80)}"
            lines.append(f"the template adds a system turn to prompts that have none: {shown}")
        if any(word in str(tokenizer.template) for word in ("strftime_now", "date_string")):
            lines.append("the template writes today's date into the prompt")
    for each in measured:
        if each.strings:
            lines.append(
                f"{each.label}: {each.strings:,} prompts are plain strings, which get no chat template"
            )
        if each.doubled_bos:
            lines.append(f"{each.label}: prompts begin with {tokenizer.bos} twice")
        if each.dropped:
            lines.append(f"{each.label}: the transform drops {each.dropped:,} rows")
    return [f"{tokenizer.name}: {line}" for line in lines]


def implicit_system(tokenizer: Tokenizer) -> str | None:
    """Return the system turn that the template adds to a chat without one, None if it adds none.

    An empty turn gives its opening. Found by rendering a question with and without a system turn.
    """
    asked, told = "\N{WHITE QUESTION MARK ORNAMENT}", "\N{WHITE EXCLAMATION MARK ORNAMENT}"
    question = {"role": "user", "content": asked}
    try:
        without = tokenizer.text([question])
        opening, _, rest = tokenizer.text(
            [{"role": "system", "content": told}, question]
        ).partition(told)
    except Exception:  # a template that refuses system turns adds none
        return None
    between = rest.partition(asked)[0]
    before = without.partition(asked)[0]
    if not rest or not opening or not before.startswith(opening) or before == opening:
        return None
    return before.removeprefix(opening).removesuffix(between) or opening

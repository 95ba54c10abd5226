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
PROMPT_FIX = "Let the transform in `type:` make `prompt`: a text, or a list of messages"


class Long(NamedTuple):
    """One of the longest prompts.

    length: all its tokens. plain: tokens of the messages' own text. template: tokens that the chat
    template adds. generation: tokens of the generation prompt. words: the start of the dataset's row.
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
    of rows that the transform drops. strings: number of prompts that are plain strings.
    without_system: True if a chat has no system turn. doubled_bos: True if a prompt has two BOS tokens.
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

    gold: the column with worked answers, or None to take the first of GOLD. The result's problems
    name the rows that cannot be read; all other rows are counted.
    Raises: TokenizerError if there is no template for chats.
    """
    split = str(source.entry.get("split") or "train")
    transform_path = str(source.entry.get("type") or "no transform")
    measured = Measured(source.label, source.path, split, transform_path)
    longest: list[tuple[int, int, Any, Row]] = []
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        for batch in read(source, cfg, progress or (lambda done, of: None), measured.fail):
            rows = _prompts(batch, transform, measured)
            lengths = each_of(
                lambda rows: tokenizer.prompts([prompt for _, _, prompt in rows]),
                rows,
                lambda row, error: measured.fail(
                    row[0], f"the chat template fails: {_described(error)}"
                ),
            )
            counted = [
                (length, -number, prompt, raw)
                for length, (number, raw, prompt) in zip(lengths, rows, strict=True)
                if length is not None
            ]
            measured.prompts.add(length for length, *_ in counted)
            chats = [prompt for _, _, prompt, _ in counted if not isinstance(prompt, str)]
            measured.without_system |= any(chat[0]["role"] != "system" for chat in chats)
            measured.strings += len(counted) - len(chats)
            longest = heapq.nlargest(SHOWN, [*longest, *counted], key=lambda each: each[:2])
            _count_gold(batch, gold, tokenizer, measured)
            if not measured.prompts.rows and measured.bad:
                what = f"none of the first {measured.bad:,} rows can be counted: stopped"
                measured.problems.append(f"{source.name}: {what}")
                break
    except Unreadable as error:
        measured.problems.append(str(error))
    if gold and not measured.gold.rows:
        measured.problems.append(f"{source.name}: no text in a column {gold!r}")
    measured.longest = [
        _long(length, -number, prompt, raw, tokenizer) for length, number, prompt, raw in longest
    ]
    measured.doubled_bos = any(_doubled_bos(prompt, tokenizer) for _, _, prompt, _ in longest)
    return measured


def _prompts(
    batch: list[tuple[int, Row]], transform: Transform, measured: Measured
) -> list[tuple[int, Row, Any]]:
    """Return number, row and prompt of each row that has a prompt."""

    def failed(row: tuple[int, Row], error: Exception) -> None:
        is_clear = isinstance(error, DatasetError)
        measured.fail(row[0], str(error) if is_clear else _described(error))

    prompts = []
    for (number, raw), rows in zip(batch, each_of(transform, batch, failed), strict=True):
        if rows is None:
            continue
        measured.dropped += not rows
        for row in rows:
            if problem := problem_of(row):
                measured.fail(number, problem if "prompt" in row else f"{problem}. {PROMPT_FIX}")
            else:
                prompts.append((number, raw, row["prompt"]))
    return prompts


def problem_of(row: Row) -> str:
    """Return the fault of a row's prompt, or ""."""
    if "prompt" not in row:
        return f'no column "prompt" (it has: {", ".join(row)})'
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
            what = "message has parts that are not text"
            return f"the {message['role']}'s {what}: {str(content)[:60]}"
        if not isinstance(content, str | list) and not message.get("tool_calls"):
            return f"the {message['role']}'s message is not text: {content!r}"
    return ""


def each_of(
    function: Callable[[Any], list[Any]],
    items: Sequence[Any],
    fail: Callable[[Any, Exception], None],
) -> list[Any]:
    """Apply the function to all items. If that fails, apply it to one item at a time.

    An item that fails gives None, after a call of `fail`.
    """
    try:
        return function(items) if items else []
    except (Unreadable, TokenizerError):
        raise
    except Exception as error:  # a user's transform or template
        if len(items) == 1:
            fail(items[0], error)
            return [None]
    return [result for item in items for result in each_of(function, [item], fail)]


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _count_gold(
    batch: list[tuple[int, Row]], column: str | None, tokenizer: Tokenizer, measured: Measured
) -> None:
    name = column or next((name for name in GOLD if name in batch[0][1]), "")
    texts = [row[name] for _, row in batch if isinstance(row.get(name), str)]
    if texts:
        measured.gold_column = name
        # A text that cannot be encoded is left out.
        counts = each_of(tokenizer.counts, texts, lambda *_: None)
        measured.gold.add(count for count in counts if count is not None)


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
        if without and (added := implicit_system(tokenizer)) is not None:
            shown = f"{added[:80]!r}{'...' * (len(added) > 80)}"
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
    """Return the system turn that the template adds to a chat without one, or None.

    The texts of a question with and without a system turn are compared. For an added turn without
    text, its opening is returned.
    """
    question, instruction = (
        "\N{WHITE QUESTION MARK ORNAMENT}",
        "\N{WHITE EXCLAMATION MARK ORNAMENT}",
    )
    chat = [{"role": "user", "content": question}]
    system = {"role": "system", "content": instruction}
    try:
        before = tokenizer.text(chat).partition(question)[0]
        opening, _, rest = tokenizer.text([system, *chat]).partition(instruction)
    except Exception:  # a template that refuses system turns adds none
        return None
    between = rest.partition(question)[0]
    if not rest or not opening or not before.startswith(opening) or before == opening:
        return None
    return before.removeprefix(opening).removesuffix(between) or opening

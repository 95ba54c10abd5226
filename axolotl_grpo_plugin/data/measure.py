"""Count the prompts of a config's datasets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.data.rows import Numbered, Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.data.tokenizer import LazyTokenizer, Prompt, Tokenizer, TokenizerError
from axolotl_grpo_plugin.findings import error_line
from axolotl_grpo_plugin.transforms.rows import DatasetError

SHOWN = 5
PROMPT_FIX = "Let the transform in `type:` make `prompt`: a text, or a list of messages"

# Each gets a row's number, and the row after its transform.
Seen = Sequence[Callable[[int, Row], None]]


class CountedPrompt(NamedTuple):
    """A prompt. number: of its dataset's row. length: its tokens."""

    number: int
    length: int


@dataclass
class Measured:
    """One dataset counted with one tokenizer.

    prompts: tokens of each prompt as the trainer feeds it.
    problems: the first few, one line each. bad: number of rows that are not counted. dropped: number
    of rows that the transform drops. strings: number of prompts that are plain strings.
    """

    source: Source
    prompts: Lengths = field(default_factory=Lengths)
    longest: CountedPrompt = field(default=CountedPrompt(0, 0))
    problems: list[str] = field(default_factory=list)
    bad: int = 0
    dropped: int = 0
    strings: int = 0

    def fail(self, row: int, what: str) -> None:
        self.bad += 1
        if not what.startswith(self.source.label):
            what = f"{self.source.name}, row {row}: {what}"
        if len(self.problems) < SHOWN and what not in self.problems:
            self.problems.append(what)


def measure(source: Source, cfg: Config, tokenizer: Tokenizer, seen: Seen = ()) -> Measured:
    """Count a dataset of a raw config, in one pass over its rows.

    seen: called with the number of a dataset's row and a row after its transform. The result's problems
    name the rows that cannot be read; all other rows are counted.
    Raises: TokenizerError if there is no template for chats.
    """
    measured = Measured(source)
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        for batch in read(source, cfg):
            counted = _counted(batch, transform, tokenizer, measured, seen)
            measured.prompts.add(prompt.length for prompt in counted)
            measured.longest = max([measured.longest, *counted], key=attrgetter("length"))
            # A wrong column is wrong in all rows, of which there may be millions.
            if measured.bad and not measured.prompts.rows:
                measured.problems.append(
                    f"{source.name}: none of the first {measured.bad:,} rows can be counted: stopped"
                )
                break
    except Unreadable as error:
        measured.problems.append(str(error))
    return measured


def _counted(
    batch: list[Numbered],
    transform: Transform,
    tokenizer: Tokenizer,
    measured: Measured,
    seen: Seen,
) -> list[CountedPrompt]:
    """Transform the rows, and count the prompts. Note the faults and the kinds of the prompts."""

    def counts(numbered: list[tuple[int, Prompt]]) -> list[int]:
        return tokenizer.prompts([prompt for _, prompt in numbered])

    prompts = []
    for (number, _), rows in zip(batch, mapped(transform, batch), strict=True):
        if isinstance(rows, Exception):
            is_ours = isinstance(rows, DatasetError)
            measured.fail(number, str(rows) if is_ours else error_line(rows))
            continue
        if not rows:
            measured.dropped += 1
        for row in rows:
            for see in seen:
                see(number, row)
            if problem := problem_of(row):
                measured.fail(number, f"{problem}. {PROMPT_FIX}")
            else:
                prompts.append((number, row["prompt"]))
    counted = []
    for (number, prompt), length in zip(prompts, mapped(counts, prompts), strict=True):
        if isinstance(length, Exception):
            measured.fail(number, f"the chat template fails: {error_line(length)}")
            continue
        counted.append(CountedPrompt(number, length))
        if isinstance(prompt, str):
            measured.strings += 1
    return counted


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
        if not isinstance(message, dict) or not message.get("role"):
            return f"a message without a role: {str(message)[:60]!r}"
        content, whose = message.get("content"), f"the {message['role']}'s message"
        if isinstance(content, list):
            for part in content:
                if part.get("type") != "text":
                    return f"{whose} has parts that are not text: {str(content)[:60]}"
        # A turn that only calls tools has no text.
        elif not isinstance(content, str) and not message.get("tool_calls"):
            return f"{whose} is not text: {content!r}"
    return ""


def mapped[Value, Result](
    function: Callable[[list[Value]], Sequence[Result]], values: list[Value]
) -> Sequence[Result | Exception]:
    """Apply the function to all values. If that fails, apply it to single values.

    A value that fails gives the error.
    """
    try:
        return function(values) if values else []
    except (Unreadable, TokenizerError):
        raise
    except Exception as error:  # a user's transform or template
        if len(values) == 1:
            return [error]
    return [mapped(function, [value])[0] for value in values]


def notes_of(measured: Measured) -> list[str]:
    """Return notes on surprising facts about these prompts, one line each."""
    lines = []
    if measured.strings:
        lines.append(f"{measured.strings:,} prompts are plain strings, which get no chat template")
    if measured.dropped:
        lines.append(f"the transform drops {measured.dropped:,} rows")
    return [f"{measured.source.label}: {line}" for line in lines]

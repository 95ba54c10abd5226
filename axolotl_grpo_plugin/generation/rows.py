"""Read the rows to answer, with the prompts and token ids that the trainer feeds to the model."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import tokens_of
from axolotl_grpo_plugin.findings import Finding, first_line, stop_on
from axolotl_grpo_plugin.stats.measure import PROMPT_FIX, problem_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import AxolotlTokenizer
from axolotl_grpo_plugin.transforms.rows import DATASET_FIX, DatasetError


class Question(NamedTuple):
    """One row after its transform.

    dataset: its file name, with the place in the config if two have that name. row: its number in the transformed dataset, from 0. raw: the dataset's own columns.
    columns: those after the transform, without the prompt. prompt: a text, or chat messages.
    ids: the prompt's token ids.
    """

    dataset: str
    row: int
    raw: Row
    columns: Row
    prompt: Any
    ids: list[int]


def questions(
    cfg: Any,
    sources: Iterable[Source],
    tokenizer: AxolotlTokenizer,
    limit: int | None = None,
) -> tuple[list[Question], int]:
    """Return the rows of all sources, and the number of rows that the trainer would drop as too long.

    limit: the most rows per source. Raises: ConfigError if a row cannot be read or transformed.
    """
    found: list[Question] = []
    sources = list(sources)
    files = Counter(Path(source.path).name for source in sources)
    longest = tokens_of(cfg.get("grpo_max_prompt_length"))
    dropped = 0
    for source in sources:
        try:
            rows = transformed(cfg, source, tokenizer, limit)
        except Unreadable as error:
            stop_on([error.finding])
        name = Path(source.path).name if files[Path(source.path).name] == 1 else source.name
        prompts = [row["prompt"] for _, row in rows]
        pairs = zip(rows, _ids(tokenizer, prompts), strict=True)
        for number, ((raw, row), ids) in enumerate(pairs):
            if longest and len(ids) > longest:
                dropped += 1
                continue
            columns = {name: value for name, value in row.items() if name != "prompt"}
            found.append(Question(name, number, raw, columns, row["prompt"], ids))
    if not found:
        what = (
            f"no row is left, because all {dropped} prompts are too long" if dropped else "no rows"
        )
        fix = "Raise grpo_max_prompt_length" if dropped else "Check the transform and the file"
        stop_on([Finding(", ".join(source.name for source in sources), what, fix)])
    return found, dropped


def transformed(
    cfg: Any, source: Source, tokenizer: AxolotlTokenizer, limit: int | None
) -> list[tuple[Row, Row]]:
    """Return the source's rows with a prompt: before and after the transform.

    limit: the most rows. Raises: Unreadable, or ConfigError if a row cannot be transformed.
    """

    def fail(number: int, what: str) -> None:
        stop_on([Finding(f"{source.name}, row {number}", what, "Correct the row")])

    transform = Transform(source, cfg, tokenizer.real)
    rows: list[tuple[Row, Row]] = []
    for batch in read(source, cfg, lambda *_: None, fail):
        for number, raw in batch:
            if len(rows) == limit:
                return rows
            try:
                (made,) = transform([(number, raw)])
            except DatasetError as error:
                stop_on([Finding(source.name, str(error).rstrip("."), DATASET_FIX)])
            except Exception as error:  # a user's transform
                what = f"the transform raised {type(error).__name__}: {first_line(error)}"
                fail(number, what)
            for row in made:
                if wrong := problem_of(row):
                    stop_on([Finding(f"{source.name}, row {number}", wrong, PROMPT_FIX)])
                rows.append((raw, row))
    return rows


def _ids(tokenizer: AxolotlTokenizer, prompts: list[Any]) -> list[list[int]]:
    """Return each prompt's token ids, as TRL's `_tokenize_prompts` makes them."""
    return [
        tokenizer.ids([prompt], special=True)[0]
        if isinstance(prompt, str)
        else tokenizer.ids([tokenizer.text(prompt)])[0]
        for prompt in prompts
    ]

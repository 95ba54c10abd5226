"""Read the rows to answer, with the prompts and token ids that the trainer feeds to the model."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.measure import PROMPT_FIX, problem_of
from axolotl_grpo_plugin.data.rows import Row, Source, Transform, read
from axolotl_grpo_plugin.data.tokenizer import AxolotlTokenizer
from axolotl_grpo_plugin.findings import FindingError, first_line, stop
from axolotl_grpo_plugin.report.console import progress
from axolotl_grpo_plugin.transforms.rows import DatasetError


class Question(NamedTuple):
    """One row after its transform.

    Attributes:
        dataset: The file name of the dataset, or its key in the config if two have that name.
        row: The index of the row in the transformed dataset.
        raw: The columns before the transform.
        columns: The columns after the transform, without the prompt.
        prompt: A text, or chat messages.
        ids: The token ids of the prompt.
    """

    dataset: str
    row: int
    raw: Row
    columns: Row
    prompt: Any
    ids: list[int]

    @property
    def dataset_row(self) -> tuple[str, int]:
        """The dataset and the index of the row in it."""
        return self.dataset, self.row


def questions(
    cfg: Config, sources: Sequence[Source], tokenizer: AxolotlTokenizer, limit: int | None = None
) -> tuple[list[Question], int]:
    """Return the rows of all sources, and the number of rows that the trainer would drop as too long.

    Args:
        cfg: The config.
        sources: The datasets.
        tokenizer: The tokenizer of the config.
        limit: The most rows per source, None for all.

    Raises:
        FindingError: A row cannot be read or transformed.
    """
    kept: list[Question] = []
    names = [Path(source.path).name for source in sources]
    longest = cfg.grpo_max_prompt_length or math.inf
    dropped = 0
    for source, name in zip(sources, names, strict=True):
        if names.count(name) > 1:
            name = source.name
        rows = transformed(cfg, source, tokenizer.real, limit)
        with progress(f"reading {name}", limit, "rows") as bar:
            for number, (raw, row) in enumerate(rows):
                columns = dict(row)
                prompt = columns.pop("prompt")
                ids = _ids(tokenizer, prompt)
                if len(ids) > longest:
                    dropped += 1
                else:
                    kept.append(Question(name, number, raw, columns, prompt, ids))
                bar.update()
    if not kept:
        stop(
            "no-rows",
            ", ".join(source.name for source in sources),
            f"no row is left, and {dropped} prompts are too long",
            "Check the transform and the file, or raise grpo_max_prompt_length",
        )
    return kept, dropped


def transformed(
    cfg: Config, source: Source, tokenizer: object, limit: int | None
) -> Iterator[tuple[Row, Row]]:
    """Yield the source's rows with a prompt: before and after the transform.

    Args:
        cfg: The config.
        source: The dataset.
        tokenizer: The tokenizer that a transform may take.
        limit: The most rows, None for all.

    Raises:
        FindingError: A row cannot be read or transformed.
    """
    transform = Transform(source, cfg, tokenizer)
    return islice(_transformed(cfg, source, transform), limit)


def _transformed(cfg: Config, source: Source, transform: Transform) -> Iterator[tuple[Row, Row]]:
    for number, raw in chain.from_iterable(read(source, cfg)):
        where = f"{source.name}, row {number}"
        try:
            (new_rows,) = transform([(number, raw)])
        except DatasetError as error:
            finding = error.at(source.name, source.name)
            raise FindingError(finding._replace(code="wrong-dataset")) from error
        except Exception as error:  # a user's transform
            stop(
                "wrong-row",
                where,
                f"the transform raised {type(error).__name__}: {first_line(error)}",
                "Correct the row",
            )
        for row in new_rows:
            if wrong := problem_of(row):
                stop("wrong-prompt", where, wrong, PROMPT_FIX)
            yield raw, row


def _ids(tokenizer: AxolotlTokenizer, prompt: Any) -> list[int]:
    """Return a prompt's token ids, as TRL's `_tokenize_prompts` makes them."""
    if isinstance(prompt, str):
        return tokenizer.ids([prompt], special=True)[0]
    return tokenizer.ids([tokenizer.text(prompt)])[0]

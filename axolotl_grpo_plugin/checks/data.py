"""Read the datasets of a config once, for the checks of its rows."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from axolotl_grpo_plugin.checks.rendered import PromptShapes
from axolotl_grpo_plugin.checks.sources import RowCheck, row_checks
from axolotl_grpo_plugin.checks.tools import shown_tools
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.hub import is_on_hub, skipped
from axolotl_grpo_plugin.data.measure import Measured, measure
from axolotl_grpo_plugin.data.rows import Row, Source
from axolotl_grpo_plugin.data.tokenizer import Tokenizer, TokenizerError, name_of, open_tokenizer
from axolotl_grpo_plugin.findings import Finding, FindingError, error_line
from axolotl_grpo_plugin.trying.samples import Sample, samples


@dataclass
class Data:
    """The datasets of a config, as far as they can be read.

    Attributes:
        unread: The reasons why datasets cannot be read.
        rows: The first rows of the training datasets.
        measured: The tokens of all prompts, by dataset.
        row_checks: The checks of all rows, each with the name of its dataset.
        shapes: Prompts of each kind, by the name of their dataset.
        trained: The hashes of the prompts to train on.
        held_out: The hashes of the prompts of each test dataset, by its name.
        context: The tokens that the model can hold, None if unknown.
        tokenizer: The reason why the prompts cannot be counted, if there is one.
        opened: The tokenizer that counted them, None if it cannot be opened.
    """

    unread: list[Finding] = field(default_factory=list)
    rows: list[Sample] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    row_checks: list[tuple[str, RowCheck]] = field(default_factory=list)
    shapes: dict[str, PromptShapes] = field(default_factory=dict)
    trained: set[int] = field(default_factory=set)
    held_out: dict[str, list[int]] = field(default_factory=dict)
    context: int | None = None
    tokenizer: Finding | None = None
    opened: Tokenizer | None = None

    @property
    def counted(self) -> int:
        """The number of prompts to train on, 0 if they cannot be counted."""
        if self.tokenizer:
            return 0
        training = [each for each in self.measured if each.source.key == "datasets"]
        return sum(each.prompts.rows for each in training)


def _hasher(hashes: set[int] | list[int]) -> Callable[[int, Row], None]:
    """Return a function that adds the hash of a row's prompt."""
    add = hashes.add if isinstance(hashes, set) else hashes.append

    def seen(_: int, row: Row) -> None:
        add(hash(str(row.get("prompt"))))

    return seen


def read_data(cfg: Config, sources: Sequence[Source], offline: bool, scored: bool) -> Data:
    """Read the datasets of a raw config, and count their prompts.

    Args:
        cfg: A raw config.
        sources: Its datasets.
        offline: A dataset or a tokenizer that is only on the hub makes a skipped check.
        scored: The rewards can be loaded, so that they can check the rows.
    """
    data = Data()
    readable = []
    for source in sources:
        first = samples(cfg, source, offline)
        if isinstance(first, Finding):
            data.unread.append(first)
            continue
        readable.append(source)
        if source.key == "datasets":
            data.rows += first
    try:
        tokenizer = data.opened = open_tokenizer(cfg)
        tokenizer.tools = shown_tools(cfg)
        for source in readable:
            checks = row_checks(cfg) if scored and data.rows else []
            shapes = data.shapes[source.name] = PromptShapes()
            seen: list[Callable[[int, Row], None]] = [shapes.add, *(check.add for check in checks)]
            # Problems that reasoning-gym makes with another seed may be the same.
            if source.transform != "axolotl_grpo_plugin.gym":
                is_trained = source.key == "datasets"
                hashes = data.trained if is_trained else data.held_out.setdefault(source.name, [])
                seen.append(_hasher(hashes))
            data.measured.append(measure(source, cfg, tokenizer, seen))
            data.row_checks += [(source.name, check) for check in checks]
        data.context = tokenizer.context()
    except TokenizerError as error:
        name = name_of(cfg)
        data.tokenizer = error.finding
        if offline and is_on_hub(name):
            data.tokenizer = skipped(f"tokenizer ({name})")
    except FindingError as error:
        data.tokenizer = error.finding
    except Exception as error:  # else the findings of the datasets before would be lost
        data.tokenizer = Finding(
            "datasets",
            f"the prompts cannot be counted: {error_line(error)}",
            "If the traceback names no code of yours, please report it",
            traceback.format_exc(),
            code="uncounted-prompts",
        )
    return data

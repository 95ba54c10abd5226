"""Check the columns of loaded datasets."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.checks.sources import row_checks
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.measure import PROMPT_FIX, problem_of
from axolotl_grpo_plugin.findings import Finding, Findings, fault
from axolotl_grpo_plugin.load import missing_column
from axolotl_grpo_plugin.reward import OF_TRL
from axolotl_grpo_plugin.transforms.rows import rows_of

if TYPE_CHECKING:
    from datasets import Dataset


def check_columns(key: str, dataset: "Dataset", cfg: Config) -> Findings:
    """Check that the loaded dataset has rows, prompts and the columns that the rewards read."""
    from datasets import Json  # `passrate --from-rollouts` does without datasets

    where = f"{key} ({', '.join(str(entry['path']) for entry in cfg.value_at(key))})"
    if not len(dataset):
        yield fault(
            "no-rows",
            where,
            "no row is left: the dataset is empty, or every prompt is too long (see the warning above)",
            "Check the dataset, or raise sequence_len",
        )
        return  # the columns that the transform makes are missing, too
    if wrong := problem_of(dataset[0]):
        yield fault("no-prompt", where, wrong, PROMPT_FIX)
    reserved = reserved_columns(dataset.column_names)
    if reserved:
        yield reserved._replace(where=where)
        return  # scoring a row would raise an error
    yield from check_reads(cfg, dataset.column_names)
    # datasets writes a column of several types as JSON. All others have one type.
    mixed = any(isinstance(feature, Json) for feature in dataset.features.values())
    checks = row_checks(cfg, mixed)
    if not checks:  # reading a large dataset takes minutes
        return
    for batch in dataset.iter(1000):
        for row in rows_of(batch):
            for check in checks:
                check.add(None, row)  # Axolotl has shuffled the rows
    for check in checks:
        yield from check.findings(where)


def reserved_columns(names: Collection[str]) -> Finding | None:
    """Return the finding if a column has the name of an argument that TRL itself gives to rewards."""
    # A transform makes `prompt`. Environments are no column of a loaded dataset.
    taken = sorted(OF_TRL.difference({"prompt", "environments"}).intersection(names))
    if not taken:
        return None
    return fault(
        "reserved-column",
        "datasets",
        f"the column {taken[0]!r} has the name of an argument that TRL gives to rewards",
        "Rename the column, or let the transform drop it",
    )


def check_reads(cfg: Config, names: Collection[str]) -> Findings:
    """Check that the rewards read only columns of these names."""
    for where, _, function in functions_in(cfg):
        if finding := missing_column(function, sorted(names), where):
            yield finding

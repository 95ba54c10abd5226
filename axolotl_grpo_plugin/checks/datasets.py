"""Load the datasets as Axolotl does, and look at them before the model is loaded."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axolotl.common.datasets import load_preference_datasets
from axolotl.utils.data import shared
from axolotl.utils.trainer import disable_datasets_caching
from datasets import Dataset, Value

from axolotl_grpo_plugin.checks import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.scoring.load import build, is_model, named
from axolotl_grpo_plugin.transforms.rows import DatasetError

LOG = logging.getLogger(__name__)


def load_checked(cfg: Any) -> Any:
    """Axolotl's datasets; ConfigError where a row is not the transform's, or nothing is left."""
    try:
        # Cached, rows would be dropped without a word, and an edited transform would not run.
        with disable_datasets_caching(), _aligned():
            loaded = load_preference_datasets(cfg=cfg)
    except DatasetError as error:
        raise ConfigError(f"axolotl-grpo-plugin: {error}") from error
    stop_on(_check("datasets", loaded.train_dataset, cfg))
    if cfg.get("test_datasets"):
        stop_on(_check("test_datasets", loaded.eval_dataset, cfg))
    return loaded


def _check(key: str, dataset: Any, cfg: Any) -> Iterator[Finding]:
    where = f"{key} ({', '.join(str(each['path']) for each in cfg[key])})"
    if not len(dataset):
        yield Finding(
            where,
            "no row is left: the dataset is empty, or every prompt too long (a warning above says so)",
            "Look at the dataset, or raise the length",
        )
    elif "prompt" not in dataset.column_names:
        yield Finding(
            where,
            f'no "prompt" column (it has: {", ".join(dataset.column_names)})',
            "Name a transform in `type:`, axolotl_grpo_plugin.gsm8k for one",
        )
    for reward in named(cfg):
        for column in () if is_model(reward.key) else getattr(build(reward), "reads", ()):
            if column not in dataset.column_names:
                yield Finding(
                    where,
                    f'no "{column}" column, which {reward.key} reads (it has: {", ".join(dataset.column_names)})',
                    "Let the transform keep or make that column",
                )


@contextmanager
def _aligned() -> Iterator[None]:
    """Within, datasets whose columns of one name differ in type can be merged."""
    concatenate = shared.concatenate_datasets
    shared.concatenate_datasets = lambda datasets: concatenate(align(datasets))
    try:
        yield
    finally:
        shared.concatenate_datasets = concatenate


def align(datasets: list[Dataset]) -> list[Dataset]:
    """The datasets, with each column that they hold in several types as text (what is no number, as JSON)."""
    aligned = list(datasets)
    for name in sorted({column for each in aligned for column in each.column_names} - {"prompt"}):
        types = {str(each.features[name]) for each in aligned if name in each.column_names}
        if len(types) > 1:
            LOG.warning(
                'the column "%s" is %s in the merged datasets: it becomes text in all of them',
                name,
                " and ".join(sorted(types)),
            )
            aligned = [
                _as_text(each, name) if name in each.column_names else each for each in aligned
            ]
    return aligned


def _as_text(dataset: Dataset, name: str) -> Dataset:
    if isinstance(dataset.features[name], Value):
        return dataset.cast_column(name, Value("string"))
    return dataset.map(
        lambda row: {name: None if row[name] is None else json.dumps(row[name])},
        features=type(dataset.features)({**dataset.features, name: Value("string")}),
    )

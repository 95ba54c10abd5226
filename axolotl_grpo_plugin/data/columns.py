"""Give the columns of merged datasets one type."""

import json
import logging
from collections import defaultdict

from datasets import Dataset, Value

from axolotl_grpo_plugin.transforms.rows import Row

LOG = logging.getLogger(__name__)


def align(datasets: list[Dataset]) -> list[Dataset]:
    """Return the datasets, with each column that differs in type as text. Lists and objects become JSON."""
    kinds = defaultdict[str, set[str]](set)
    for dataset in datasets:
        for name, feature in dataset.features.items():
            kinds[name].add(str(feature))
    for name, types in sorted(kinds.items()):
        # A chat as JSON text would be another prompt.
        if len(types) == 1 or name == "prompt":
            continue
        LOG.warning(
            'the column "%s" is %s in the merged datasets. It becomes text in all of them.',
            name,
            " and ".join(sorted(types)),
        )
        datasets = [_as_text(dataset, name) for dataset in datasets]
    return datasets


def _as_text(dataset: Dataset, name: str) -> Dataset:
    feature = dataset.features.get(name)
    if feature is None:
        return dataset
    if isinstance(feature, Value):
        return dataset.cast_column(name, Value("string"))

    def dumped(row: Row) -> Row:
        value = row[name]
        if value is not None:
            value = json.dumps(value)
        return {name: value}

    features = dataset.features.copy()
    features[name] = Value("string")
    return dataset.map(dumped, features=features)

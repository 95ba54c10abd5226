"""Load the datasets as Axolotl does, and look at them before the model is loaded."""

from collections.abc import Iterator
from typing import Any

from axolotl.common.datasets import load_preference_datasets
from axolotl.utils.trainer import disable_datasets_caching

from axolotl_grpo_plugin.checks import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.transforms.rows import DatasetError


def load_checked(cfg: Any) -> Any:
    """Axolotl's datasets; ConfigError where a row is not the transform's, or nothing is left."""
    try:
        # Cached, rows would be dropped without a word, and an edited transform would not run.
        with disable_datasets_caching():
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

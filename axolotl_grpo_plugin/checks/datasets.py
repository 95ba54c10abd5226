"""Load the datasets as Axolotl does, and check them before the model is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from axolotl.common.datasets import load_preference_datasets
from axolotl.utils.data import rl, shared
from axolotl.utils.trainer import disable_datasets_caching
from datasets import arrow_dataset, fingerprint

from axolotl_grpo_plugin.checks.columns import align, check_columns
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.samples import samples
from axolotl_grpo_plugin.findings import ConfigError, Finding, stop_on
from axolotl_grpo_plugin.stats.rows import factory, sources
from axolotl_grpo_plugin.stats.tokenizer import lacks_template
from axolotl_grpo_plugin.transforms.rows import DATASET_FIX, DatasetError


def load_checked(cfg: Any) -> Any:
    """Load Axolotl's datasets. Raises ConfigError if a row does not fit the transform, or no row is left."""
    try:
        # With the cache, rows would be dropped silently, and an edited transform would not run.
        with disable_datasets_caching(), _patched():
            loaded = load_preference_datasets(cfg=cfg)
    except DatasetError as error:
        fix = "" if str(error).endswith(".") else f". {DATASET_FIX}."
        raise ConfigError(f"axolotl-grpo-plugin: {error}{fix}") from error
    except Exception:  # a user's transform or file
        stop_on(_check_rows(cfg))
        raise
    stop_on(check_columns("datasets", loaded.train_dataset, cfg))
    if not isinstance(loaded.train_dataset[0]["prompt"], str) and (wrong := lacks_template(cfg)):
        stop_on([wrong])
    if cfg.get("test_datasets"):
        stop_on(check_columns("test_datasets", loaded.eval_dataset, cfg))
    return loaded


def _check_rows(cfg: Any) -> Iterator[Finding]:
    """Find the row, or the transform, because of which the datasets cannot be loaded."""
    readable = []
    for source in sources(cfg):
        found = samples(cfg, source, offline=False)
        if isinstance(found, Finding):
            yield found
        else:
            readable.append(source)
    yield from check_prompts(cfg, readable, offline=False)


@contextmanager
def _patched() -> Iterator[None]:
    """Within, transforms may be in any module, and merged columns of one name may differ in type."""
    concatenate = shared.concatenate_datasets

    def unhashed(*_: Any) -> Any:
        return fingerprint.generate_random_fingerprint()

    with (
        # Axolotl imports only the last module of a dotted path, and hides the errors of a factory.
        patch.object(rl, "load_dpo", lambda path, cfg, **index: factory(path)(cfg, **index)),
        patch.object(shared, "concatenate_datasets", lambda datasets: concatenate(align(datasets))),
        # Only the cache reads fingerprints. To hash Qwen's tokenizer takes 2 s of CPU time per map.
        patch.object(arrow_dataset, "update_fingerprint", unhashed),
        patch.object(fingerprint, "update_fingerprint", unhashed),
    ):
        yield

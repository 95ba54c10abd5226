"""Load a config's datasets as Axolotl does, with transforms of any module and columns of one type."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from axolotl.common.datasets import load_preference_datasets
from axolotl.utils.data import rl, shared
from axolotl.utils.trainer import disable_datasets_caching
from datasets import arrow_dataset, fingerprint

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.columns import align
from axolotl_grpo_plugin.data.exact import kept_by_axolotl
from axolotl_grpo_plugin.data.rows import factory


def load_datasets(cfg: Config) -> Any:
    """Return Axolotl's TrainDatasetMeta. Raises: DatasetError, or any error of a transform or a file."""
    # With the cache, rows would be dropped silently, and an edited transform would not run.
    with disable_datasets_caching(), _patched(), kept_by_axolotl():
        return load_preference_datasets(cfg=cfg.raw)


@contextmanager
def _patched() -> Iterator[None]:
    """Within, transforms may be in any module, and merged columns of one name may differ in type."""
    concatenate = shared.concatenate_datasets

    def unhashed(*_: object) -> object:
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

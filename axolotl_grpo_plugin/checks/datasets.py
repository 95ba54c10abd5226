"""Check the datasets before the model is loaded."""

from contextlib import suppress
from typing import Any

from axolotl_grpo_plugin.checks.columns import check_columns
from axolotl_grpo_plugin.checks.data import read_data
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.rendered import PromptShapes, check_rendered
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.datasets import load_datasets
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.data.tokenizer import (
    Tokenizer,
    TokenizerError,
    lacks_template,
    open_tokenizer,
)
from axolotl_grpo_plugin.findings import FindingError, Findings, stop_on
from axolotl_grpo_plugin.transforms.rows import DATASET_FIX, DatasetError

LOOKED_AT = 1000  # rows whose kinds of prompts are rendered before the training


def load_checked(cfg: Config) -> Any:
    """Load Axolotl's datasets.

    Raises:
        FindingError: If a row does not fit the transform, or no row is left.
    """
    try:
        loaded = load_datasets(cfg)
    except DatasetError as error:
        finding = error.finding
        raise FindingError(finding._replace(fix=finding.fix or DATASET_FIX)) from error
    except Exception:  # a user's transform or file
        stop_on(_check_rows(cfg), cfg.file)
        raise
    if not len(
        loaded.train_dataset
    ):  # else the error would not say by how much the prompts are too long
        stop_on(_check_rows(cfg), cfg.file)
    stop_on(check_columns("datasets", loaded.train_dataset, cfg), cfg.file)
    if not isinstance(loaded.train_dataset[0]["prompt"], str) and (wrong := lacks_template(cfg)):
        stop_on([wrong], cfg.file)
    tokenizer: Tokenizer | None = None
    if not cfg.processor_type:
        with suppress(TokenizerError):  # another check names the fault
            tokenizer = open_tokenizer(cfg)
    stop_on(_check_prompts("datasets", loaded.train_dataset, tokenizer), cfg.file)
    if cfg.test_datasets:
        stop_on(check_columns("test_datasets", loaded.eval_dataset, cfg), cfg.file)
        stop_on(_check_prompts("test_datasets", loaded.eval_dataset, tokenizer), cfg.file)
    return loaded


def _check_prompts(key: str, dataset: Any, tokenizer: Tokenizer | None) -> Findings:
    """Check the rendered prompts of a loaded dataset. Axolotl has shuffled its rows."""
    if tokenizer is None:
        return
    shapes = PromptShapes()
    for row in dataset.select(range(min(len(dataset), LOOKED_AT))):
        shapes.add(0, row)
    prompts = [(None, prompt) for _, prompt in shapes.prompts]
    yield from check_rendered(tokenizer, key, prompts)


def _check_rows(cfg: Config) -> Findings:
    """Find the row, or the transform, because of which the datasets cannot be loaded."""
    data = read_data(cfg, sources(cfg), offline=False, scored=True)
    yield from data.unread
    for finding in check_prompts(cfg, data):
        if finding.code == "mixed-types":
            finding = finding._replace(level="error")  # the reason why the load failed
        yield finding

"""Recognize names on the Hugging Face hub, and control its client's offline mode."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from axolotl_grpo_plugin.findings import Finding

FILES = (".json", ".jsonl", ".parquet", ".csv")  # endings of a dataset's file


def is_on_hub(name: object) -> bool:
    """Return whether a config's model or dataset is a hub name, not a path or a URL."""
    return (
        isinstance(name, str)
        and is_repo(name)
        and not os.path.exists(name)
        and not os.path.isdir(name.partition("/")[0])
        and not name.endswith(FILES)
    )


def is_repo(name: str) -> bool:
    """Return whether the hub allows the name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


@cache
def answers() -> bool:
    """Return whether the hub can be reached. Cached, because its client retries for a minute per file."""
    import httpx
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5.0)
    except httpx.TransportError:
        return False
    return True


def skipped(where: str) -> Finding:
    """Return the finding of a check that needs the hub."""
    return Finding(
        where,
        "not checked, because it is not on this machine",
        "Check again with access to the Hugging Face hub",
        level="skipped",
    )


@contextmanager
def offline(closed: bool) -> Iterator[None]:
    """Within, set whether the hub's client and datasets use only their cache."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = closed
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before

"""Check that the hub gives this machine each model and dataset of a config, or that its cache has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.data.rows import Source, Unreadable, read, sources
from axolotl_grpo_plugin.findings import Fact, Finding, Lines, fault, first_line
from axolotl_grpo_plugin.load import is_model, reward_refs

# The weights in other formats than safetensors are as large again.
_OTHER_FORMATS = ["*.bin", "*.pth", "*.gguf", "*.onnx", "*.msgpack", "*.h5", "original/*"]
# Keys of a dataset that select its files or rows.
_PARTS = ("name", "data_dir", "data_files", "split", "revision")


class Repository(NamedTuple):
    """A model on the hub, or the part of a dataset there that one entry of a config reads.

    kind: "model" or "dataset". part: the values of _PARTS, "" for a model. source: the dataset's entry.
    """

    kind: str
    name: str
    revision: str | None = None
    part: str = ""
    source: Source | None = None

    @property
    def label(self) -> str:
        return f"{self.name} ({self.part})" if self.part else self.name


def repositories(cfg: Config) -> list[Repository]:
    """Return the models and the parts of datasets that a config takes from the hub, each once."""
    first: dict[tuple[str, ...], Repository] = {}
    for repository in _named(cfg):
        if hub.is_on_hub(repository.name):
            first.setdefault((repository.kind, repository.label), repository)
    return list(first.values())


def _named(cfg: Config) -> Iterator[Repository]:
    yield Repository("model", cfg.base_model or "", cfg.revision_of_model)
    yield Repository("model", cfg.tokenizer_config or "")
    for ref in reward_refs(cfg):
        if is_model(ref.key):
            yield Repository("model", ref.key)
    for source in sources(cfg):
        entry = source.entry
        part = ", ".join(str(entry[key]) for key in _PARTS if entry.get(key))
        yield Repository("dataset", source.path, entry.get("revision"), part, source)


def check_hub(cfg: Config) -> Lines:
    """Check the config's repositories."""
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import HfHubHTTPError

    wanted = repositories(cfg)
    missing = [repository for repository in wanted if not is_cached(cfg, repository)]
    reachable = not constants.HF_HUB_OFFLINE and hub.answers()
    state = "does not answer"
    if constants.HF_HUB_OFFLINE:
        state = "is not asked (HF_HUB_OFFLINE)"
    elif reachable:
        state = "answers"
    text = f"{constants.ENDPOINT} {state}"
    if wanted:
        text += f"; the cache has {len(wanted) - len(missing)} of {len(wanted)} models and datasets"
    yield Fact("hub", text)
    for repository in missing:
        if not reachable:
            yield fault(
                "not-cached",
                repository.label,
                f"this {repository.kind} is not in the cache, and the hub {state}",
                "Run `axolotl-grpo doctor CONFIG --prefetch` with a network, and with the same HF_HOME",
            )
            continue
        try:
            auth_check(repository.name, repo_type=repository.kind)
        except HfHubHTTPError as error:  # gated, private, or no such name: the hub's text says it
            yield fault(
                "refused-by-hub",
                repository.label,
                f"the hub refuses this {repository.kind}: {first_line(error)}",
                f"Log in with `hf auth login`, and accept its terms at {constants.ENDPOINT}/{repository.name}",
            )


def is_cached(cfg: Config, repository: Repository) -> bool:
    """Return whether a run without a network finds all files of a model's weights, or a dataset's rows."""
    if repository.source is None:
        return _has_weights(repository)
    try:
        with hub.offline(True):  # Axolotl's own loader, as in the run
            return bool(next(read(repository.source, cfg)))
    except Unreadable:
        return False


def _has_weights(repository: Repository) -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    _, name, revision, *_ = repository
    try:
        path = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return False
    weights = ["model.safetensors"]
    index = path / "model.safetensors.index.json"
    if index.exists():
        weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return all((path / file).exists() for file in ("config.json", *weights))


def download(cfg: Config, repository: Repository) -> Fact | Finding:
    """Download a model, or a dataset as Axolotl loads it, into the caches of a run."""
    from huggingface_hub import snapshot_download

    kind, name, revision, _, source = repository
    try:
        if source is None:
            text = snapshot_download(name, revision=revision, ignore_patterns=_OTHER_FORMATS)
        else:
            text = f"{sum(map(len, read(source, cfg))):,} rows"
    except (OSError, ValueError, Unreadable) as error:  # missing, gated, or no network
        return fault(
            "not-downloaded",
            repository.label,
            f"this {kind} cannot be downloaded: {first_line(error)}",
            "Follow the findings on the hub below",
        )
    return Fact("download", f"{repository.label}: {text}")

"""Find the models to evaluate, and identify each by the content of its weights."""

import hashlib
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config, output_dir, whole_of
from axolotl_grpo_plugin.data.hub import is_on_hub
from axolotl_grpo_plugin.data.tokenizer import TokenizerError, folder_of
from axolotl_grpo_plugin.findings import stop

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_ADAPTER = "adapter_config.json"
_FILES = [*_WEIGHTS, "*.json", "*.jinja", "*.model", "*.txt"]


class Model(NamedTuple):
    """A model to evaluate.

    Attributes:
        label: The name of the model in tables.
        folder: The folder of the whole model.
        adapter: The folder of a LoRA adapter on it, or None.
        step: The training step of a checkpoint, 0 for the base model, None if unknown.
        digest: A hash of the weights.
        names: The step of each label that has these weights.
    """

    label: str
    folder: Path
    adapter: Path | None
    step: int | None
    digest: str
    names: dict[str, int | None]


def models_of(
    cfg: Config, names: Sequence[str] = (), checkpoints: str | None = None, trained: bool = True
) -> list[Model]:
    """Return the models to evaluate, the base model first. Equal weights are one model of several names.

    Args:
        cfg: The config.
        names: Folders or hub names. The default is the config's base model.
        checkpoints: "all", "last", or steps ("20,40") of the output_dir.
        trained: Without names, also take the model that the training saved.

    Raises:
        FindingError: One of them is no model.
    """
    output = output_dir(cfg)
    sources = {name: name for name in names} or {"base": str(cfg.base_model)}
    if checkpoints:
        for folder in _checkpoints(output, checkpoints):
            sources[folder.name] = str(folder)
    if trained and not names and checkpoints != "last" and _is_model(output):
        sources["trained"] = str(output)
    unique: dict[str, Model] = {}
    for label, source in sources.items():
        model = _model(cfg, label, source)
        unique.setdefault(model.digest, model).names[label] = model.step
    return list(unique.values())


def _checkpoints(output: Path, which: str) -> list[Path]:
    """Return the checkpoints of an output folder, the oldest first."""
    folders = filter(_is_model, output.glob("checkpoint-*"))
    steps = {_step(folder.name): folder for folder in folders}
    known = sorted(filter(None, steps))
    wanted: Sequence[int | None] = known
    if which == "last":
        wanted = known[-1:]
    elif which != "all":
        wanted = [whole_of(step) for step in which.split(",")]
    if not known or not steps.keys() >= {*wanted}:
        stop(
            "no-checkpoint",
            f"--checkpoints {which}",
            f"{output} has no such checkpoint",
            f"It has: {', '.join(map(str, known)) or 'none. Set save_steps in the config'}",
        )
    return [steps[step] for step in wanted]


def _step(label: str) -> int | None:
    """Return the step of a model: 0 for the base, None if its folder is not a checkpoint's."""
    if label == "base":
        return 0
    _, is_checkpoint, step = Path(label).name.partition("checkpoint-")
    return whole_of(step) if is_checkpoint else None


def _is_model(folder: Path) -> bool:
    return (folder / _ADAPTER).is_file() or _is_whole(folder)


def _is_whole(folder: Path) -> bool:
    """Return whether a folder has a model with its own weights."""
    return (folder / "config.json").is_file() and bool(_weights(folder))


def _weights(folder: Path) -> list[Path]:
    return sorted(chain.from_iterable(map(folder.glob, _WEIGHTS)))


def _model(cfg: Config, label: str, name: str) -> Model:
    where = cfg.at(f"base_model ({name})") if label == "base" else f"--model {name}"
    folder = _folder(cfg, name, where)
    adapter = None
    if (folder / _ADAPTER).is_file():
        adapter = folder
        base = json.loads((adapter / _ADAPTER).read_text()).get("base_model_name_or_path")
        # A path may be relative to the folder of the training.
        if not base or not (Path(base).is_dir() or is_on_hub(base)):
            base = cfg.base_model
        folder = _folder(cfg, str(base), f"{where}, base model")
    if not _is_whole(folder):
        stop(
            "no-model",
            where,
            f"{folder} is no model",
            "Name a folder with config.json and safetensors, an adapter, or a hub name",
        )
    return Model(label, folder, adapter, _step(label), _digest(folder, adapter), {})


def _folder(cfg: Config, name: str, where: str) -> Path:
    """Return the model's folder. A hub name is downloaded."""
    revision = cfg.revision_of_model if name == cfg.base_model else None
    model = Config({"base_model": name, "revision_of_model": revision})
    try:
        return folder_of(model, _FILES)
    except TokenizerError as error:
        stop("no-model", where, error.finding.what, error.finding.fix)


def _digest(folder: Path, adapter: Path | None) -> str:
    """Return a hash of the weights and of the model's config, 16 hexadecimal digits."""
    total = hashlib.sha256()
    folders = [folder, adapter] if adapter else [folder]
    for part in folders:
        for file in (*_weights(part), part / "config.json", part / _ADAPTER):
            if file.is_file():
                with file.open("rb") as content:
                    total.update(file.name.encode())
                    total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]

"""Find the models to evaluate, and identify each by the content of its weights."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import tokens_of
from axolotl_grpo_plugin.findings import ConfigError, Finding, at, first_line, stop_on
from axolotl_grpo_plugin.hub import is_on_hub
from axolotl_grpo_plugin.inputs import check_model

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_ADAPTER = "adapter_config.json"
_FILES = [*_WEIGHTS, "*.json", "*.jinja", "*.model", "*.txt"]


class Model(NamedTuple):
    """A model to evaluate.

    label: its name in tables. folder: of the whole model. adapter: of a LoRA adapter on it, or None.
    step: the training step of a checkpoint, 0 for the base model, None if unknown. digest: identifies
    the weights by their content. names: the step of each label that has these weights.
    """

    label: str
    folder: Path
    adapter: Path | None
    step: int | None
    digest: str
    names: dict[str, int | None]


def models_of(
    cfg: Any,
    names: Sequence[str] = (),
    checkpoints: str | None = None,
    trained: bool = True,
) -> list[Model]:
    """Return the models to evaluate, the base model first. Equal weights are one model of several names.

    names: folders or hub names, by default the config's base model. checkpoints: "all", "last", or
    steps ("20,40") of the output_dir. trained: without names, also the model that the training saved.
    Raises: ConfigError if one of them is no model.
    """
    output = Path(cfg.get("output_dir") or "model-out")
    found = [_model(cfg, name, name, _step(name)) for name in names]
    found = found or [_model(cfg, "base", str(cfg.get("base_model")), 0)]
    found += [
        _model(cfg, folder.name, str(folder), _step(folder.name))
        for folder in _checkpoints(output, checkpoints)
    ]
    if trained and not names and checkpoints != "last" and _is_model(output):
        found.append(_model(cfg, "trained", str(output), None))
    unique: dict[str, Model] = {}
    for model in found:
        unique.setdefault(model.digest, model).names[model.label] = model.step
    return list(unique.values())


def _checkpoints(output: Path, which: str | None) -> list[Path]:
    if not which:
        return []
    folders = sorted(output.glob("checkpoint-*"), key=lambda folder: _step(folder.name) or 0)
    steps = {_step(folder.name): folder for folder in folders if _is_model(folder)}
    where = f"--checkpoints {which}"
    if not steps:
        stop_on([Finding(where, f"no checkpoint in {output}", "Set `save_steps` in the config")])
    if which in ("all", "last"):
        return [*steps.values()] if which == "all" else [[*steps.values()][-1]]
    wanted = [tokens_of(each) for each in which.split(",")]
    for step in wanted:
        if step not in steps:
            have = ", ".join(map(str, steps))
            stop_on([Finding(where, f"{output} has no such checkpoint", f"It has: {have}")])
    return [steps[step] for step in wanted]


def _step(name: str) -> int | None:
    name = Path(name).name
    return tokens_of(name.removeprefix("checkpoint-")) if name.startswith("checkpoint-") else None


def _is_model(folder: Path) -> bool:
    return (folder / _ADAPTER).is_file() or (
        (folder / "config.json").is_file() and any(_weights(folder))
    )


def _weights(folder: Path) -> Iterator[Path]:
    for pattern in _WEIGHTS:
        yield from sorted(folder.glob(pattern))


def _model(cfg: Any, label: str, name: str, step: int | None) -> Model:
    where = at(cfg, "base_model") if label == "base" else f"--model {name}"
    folder, adapter = _folder(cfg, name, where), None
    if (folder / _ADAPTER).is_file():
        adapter = folder
        own = json.loads((folder / _ADAPTER).read_text()).get("base_model_name_or_path")
        # A path may be relative to the folder of the training.
        is_found = own and (Path(own).is_dir() or is_on_hub(own))
        named = own if is_found else cfg.get("base_model")
        folder = _folder(cfg, str(named), f"{where}, base model")
    if not (folder / "config.json").is_file() or not any(_weights(folder)):
        fix = "Name a folder with config.json and safetensors, an adapter, or a hub name"
        stop_on([Finding(where, f"{folder} is no model", fix)])
    return Model(label, folder, adapter, step, _digest(folder, adapter), {})


def _folder(cfg: Any, name: str, where: str) -> Path:
    """Return the model's folder. A hub name is downloaded."""
    if Path(name).is_dir():
        return Path(name)
    for finding in check_model({"base_model": name}):
        stop_on([finding._replace(where=where)])
    from huggingface_hub import snapshot_download

    revision = cfg.get("revision_of_model") if name == cfg.get("base_model") else None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # the hub's client, or the network
        what = f"{name} cannot be downloaded: {first_line(error)}"
        fix = "Check the name and the network, or name a folder"
        raise ConfigError(str(Finding(where, what, fix))) from error


def _digest(folder: Path, adapter: Path | None) -> str:
    """Return a hash of the weights and of the model's config, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for each in (folder, adapter):
        names = ("config.json", _ADAPTER)
        files = [*_weights(each), *(each / name for name in names)] if each else []
        for file in filter(Path.is_file, files):
            with file.open("rb") as content:
                total.update(file.name.encode())
                total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]

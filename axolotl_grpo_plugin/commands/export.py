"""`axolotl-grpo export`: write a config's rows as Parquet files in verl's form."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.data.rows import Source, Transform, read, sources
from axolotl_grpo_plugin.data.tokenizer import LazyTokenizer
from axolotl_grpo_plugin.findings import FindingError, stop
from axolotl_grpo_plugin.output.files import writing, written
from axolotl_grpo_plugin.paths import check_empty
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.transforms.rows import DatasetError, Row
from axolotl_grpo_plugin.trying.samples import ANSWERS

FILES = {"datasets": "train.parquet", "test_datasets": "test.parquet"}
COUNTDOWN = ("numbers", "target")  # the keys of TinyZero's ground truth


def run(config: str, *, out: str | None) -> None:
    """Write train.parquet and test.parquet.

    Raises:
        FindingError: A dataset cannot be read, or a row has no gold answer.
    """
    paths.add_working_folder()
    cfg = read_config(config)
    folder = Path(out or Path(config).stem)
    check_empty(folder)
    entries = sources(cfg)
    paths.resolve_packaged(cfg)
    for key, name in FILES.items():
        rows = list(
            chain.from_iterable(_rows(source, cfg) for source in entries if source.key == key)
        )
        if not rows:
            continue
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / name, rows)
        click.echo(f"wrote      {folder / name}: {len(rows):,} rows")


def _rows(source: Source, cfg: Config) -> Iterator[Row]:
    transform = Transform(source, cfg, LazyTokenizer(cfg))
    split = "train" if source.key == "datasets" else "test"
    try:
        for batch in read(source, cfg):
            for (number, _), made in zip(batch, transform(batch), strict=True):
                for row in made:
                    yield _as_verls(row, split, number, source.name)
    except DatasetError as error:
        raise FindingError(error.at(source.at(cfg, "path"), source.name)) from error


def _as_verls(row: Row, split: str, number: int, where: str) -> Row:
    gold = next((row[name] for name in ANSWERS if row.get(name) is not None), None)
    if gold is None and "nums" in row and "target" in row:
        gold = dict(zip(COUNTDOWN, (row["nums"], row["target"]), strict=True))
    if gold is None:
        stop(
            "no-gold",
            f"{where}, row {number}",
            f"no gold answer in {', '.join(ANSWERS)}",
            "Let the transform write the answer to one of these columns",
        )
    return {
        "data_source": row.get("data_source") or "unknown",
        "prompt": row["prompt"],
        "reward_model": {"style": "rule", "ground_truth": as_text(gold)},
        "extra_info": {"split": split, "index": number},
    }


def _write(file: Path, rows: list[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows)
    with written(file) as part:
        pq.write_table(table, part)

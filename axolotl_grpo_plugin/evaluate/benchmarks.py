"""Benchmarks by name: the dataset, the transform and the reward that judges the answers.

Each is a file in the folder `benchmarks` beside this module. `dataset` has the form of an entry of
Axolotl's `datasets:`. A `revision` is there if several public repositories name that commit.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Source
from axolotl_grpo_plugin.findings import nearest, stop
from axolotl_grpo_plugin.paths import resolve_packaged

FOLDER = Path(__file__).with_name("benchmarks")


class _Data(Source):
    """The dataset of a benchmark. Messages name the benchmark, because no config has the entry."""

    @property
    def label(self) -> str:
        return f"benchmark {self.key}"

    def at(self, cfg: Any, key: str) -> str:
        return self.label


class Benchmark(NamedTuple):
    """A benchmark.

    Attributes:
        name: Its name on the command line.
        entry: Its dataset, as in `datasets:`.
        reward: The dotted path of its reward.
        licence: The licence of the dataset.
        description: One sentence.
    """

    name: str
    entry: dict[str, Any]
    reward: str
    licence: str
    description: str

    @property
    def source(self) -> Source:
        """The dataset for `data.rows`."""
        return _Data(self.name, 0, self.entry["path"], self.entry)


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def benchmark(name: str, file: str | None = None) -> Benchmark:
    """Return a benchmark.

    Args:
        name: The name of the benchmark.
        file: JSONL or Parquet with the dataset's rows, which is read instead of the hub.

    Raises:
        FindingError: There is no such benchmark.
    """
    if name not in names():
        stop("unknown-benchmark", f"benchmark {name}", "unknown", nearest(name, names()))
    described = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    entry = described["dataset"]
    if file is not None:
        entry = {"path": file, "split": "train", "type": entry["type"]}
    resolve_packaged(Config({"datasets": [entry]}))
    return Benchmark(
        name, entry, described["reward"], described["licence"], described["description"]
    )

"""reasoning-gym's tasks -> chat prompts. Rows name tasks, and reasoning-gym makes their problems offline."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from axolotl_grpo_plugin.findings import Finding, nearest
from axolotl_grpo_plugin.rewards.gym import INSTALL, GymProblem, read_entry
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    source_of,
    within_budget,
)

SYSTEM_PROMPT = """Think first, then give the answer alone, in the form that is asked for. Respond in the following format:
<think>
...
</think>
<answer>
...
</answer>"""

# A separate process with a fixed hash seed: some generators iterate over sets, and all ranks of a run
# must make the same problems.
_SCRIPT = """
import json, sys
output, sys.stdout = sys.stdout, sys.stderr
from reasoning_gym.factory import DATASETS, create_dataset


def make(task, size, seed, config):
    if task not in DATASETS or task == "composite":
        return {"known": sorted(set(DATASETS) - {"composite"})}
    try:
        dataset = create_dataset(task, size=size, seed=seed, **config)
        return {"entries": [dataset[number] for number in range(size)]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([make(**spec) for spec in json.load(sys.stdin)], output)
"""


def gym(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of reasoning-gym's tasks: a row that names a task becomes several problems.

    A row is {"task": "chain_sum", "size": 500, "seed": 1, "config": {"max_terms": 3}}. size (default
    500), seed (default 0) and config (the task's options in reasoning-gym) may be left out. Equal rows
    make equal problems on any machine. A row may also be a problem of reasoning-gym: `question`,
    `answer`, `metadata` (an object or its JSON text).

    Returns `prompt`, chat messages that ask for `<think>` and `<answer>` blocks, `entry`, JSON text
    that `rewards.gym` reads, and `data_source`, "reasoning_gym/<task>". No other column stays.

    Source: https://github.com/open-thought/reasoning-gym (Apache-2.0; the extra `gym` installs it).
    """
    source = source_of(cfg, dataset_idx)
    ask = instructions_before(cfg, SYSTEM_PROMPT)

    def transform(columns: Columns, tokenizer: Any) -> Columns:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        specs = [_spec(row, source) for row in rows if row.get("task") is not None]
        generated = iter(_generate(specs, source) if specs else ())
        entries: list[GymProblem] = []
        for row in rows:
            entries += [_given(row, source)] if row.get("task") is None else next(generated)
        names = [entry.metadata["source_dataset"] for entry in entries]
        made: Columns = {
            "prompt": [ask(entry.question.strip()) for entry in entries],
            "entry": [json.dumps(entry._asdict(), ensure_ascii=False) for entry in entries],
            "data_source": [f"reasoning_gym/{name}" for name in names],
        }
        return within_budget(made, range(len(entries)), tokenizer, cfg, source)

    # Without indices, because Axolotl 0.21 cannot give them if columns are removed.
    return transform, {"batched": True, "batch_size": 1_000, "remove_columns": "__all__"}


def _generate(specs: Sequence[Mapping[str, Any]], source: str) -> Iterator[list[GymProblem]]:
    """Yield the problems of each spec. Raises: DatasetError if reasoning-gym makes none."""
    if find_spec("reasoning_gym") is None:
        raise DatasetError(f"{source}: {INSTALL}")
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", _SCRIPT],
        input=json.dumps(specs),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        raise DatasetError(f"{source}: reasoning-gym failed:\n{done.stderr}")
    for spec, made in zip(specs, json.loads(done.stdout), strict=True):
        where = f"{source}, the row with task {spec['task']!r}"
        if known := made.get("known"):
            what = "reasoning-gym has no such task"
            raise DatasetError(str(Finding(where, what, nearest(spec["task"], known))))
        if error := made.get("error"):
            raise DatasetError(f"{where}: reasoning-gym refuses it: {error}")
        yield [
            GymProblem(each["question"], each["answer"], each["metadata"], spec["config"])
            for each in made["entries"]
        ]


def _spec(row: Mapping[str, Any], source: str) -> dict[str, Any]:
    where = f"{source}, the row with task {row['task']!r}"
    size, seed, config = row.get("size"), row.get("seed"), row.get("config") or {}
    if not isinstance(config, Mapping):
        raise DatasetError(f'{where}: "config" is not an object of options: {config!r}')
    spec = {"size": 500 if size is None else size, "seed": 0 if seed is None else seed}
    for key, least in (("size", 1), ("seed", 0)):
        if not isinstance(spec[key], int) or spec[key] < least:
            what = f'"{key}" is not a whole number of at least {least}'
            raise DatasetError(f"{where}: {what}: {spec[key]!r}")
    # datasets gives a row None for the options that only other rows have.
    options = {key: value for key, value in config.items() if value is not None}
    return {"task": str(row["task"]), **spec, "config": options}


def _given(row: Mapping[str, Any], source: str) -> GymProblem:
    entry = read_entry(row)
    if entry is None:
        raise DatasetError(
            f"{source}: neither a task nor a problem of reasoning-gym: {str(dict(row))[:100]}. "
            'Write {"task": "chain_sum", "size": 500, "seed": 1}.'
        )
    return entry

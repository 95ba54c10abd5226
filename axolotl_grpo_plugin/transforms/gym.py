"""reasoning-gym's tasks -> chat prompts. Rows name tasks, and reasoning-gym makes their problems offline."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from axolotl_grpo_plugin.config import RawConfig
from axolotl_grpo_plugin.findings import Finding, nearest
from axolotl_grpo_plugin.rewards.gym import INSTALL, GymProblem, read_entry
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    Row,
    rows_of,
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


def gym(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
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

    def transform(columns: Columns, tokenizer: object) -> Columns:
        rows = rows_of(columns)
        specs = [_spec(row, source) for row in rows if row.get("task") is not None]
        generated = iter(_generate(specs, source) if specs else ())
        made: Columns = {"prompt": [], "entry": [], "data_source": []}
        for row in rows:
            problems = [_given(row, source)] if row.get("task") is None else next(generated)
            for problem in problems:
                made["prompt"].append(ask(problem.question.strip()))
                made["entry"].append(json.dumps(problem._asdict(), ensure_ascii=False))
                made["data_source"].append(f"reasoning_gym/{problem.metadata['source_dataset']}")
        return within_budget(made, tokenizer, cfg, source)

    # Without indices, because Axolotl 0.21 cannot give them if columns are removed.
    return transform, {"batched": True, "batch_size": 1_000, "remove_columns": "__all__"}


def _generate(specs: list[Row], source: str) -> Iterator[list[GymProblem]]:
    """Yield the problems of each spec. Raises: DatasetError if reasoning-gym makes none."""
    if find_spec("reasoning_gym") is None:
        raise DatasetError(Finding(source, INSTALL, ""))
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", _SCRIPT],
        input=json.dumps(specs),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        raise DatasetError(Finding(source, f"reasoning-gym failed:\n{done.stderr}", ""))
    for spec, made in zip(specs, json.loads(done.stdout), strict=True):
        where = f"{source}, the row with task {spec['task']!r}"
        if known := made.get("known"):
            fix = nearest(spec["task"], known)
            raise DatasetError(Finding(where, "reasoning-gym has no such task", fix))
        if error := made.get("error"):
            raise DatasetError(Finding(where, f"reasoning-gym refuses it: {error}", ""))
        yield [
            GymProblem(entry["question"], entry["answer"], entry["metadata"], spec["config"])
            for entry in made["entries"]
        ]


def _spec(row: Row, source: str) -> Row:
    where = f"{source}, the row with task {row['task']!r}"
    config = row.get("config") or {}
    if not isinstance(config, Mapping):
        what = f'"config" is not an object of options: {config!r}'
        raise DatasetError(Finding(where, what, ""))
    # datasets gives a row None for the options that only other rows have.
    options = {key: value for key, value in config.items() if value is not None}
    spec: Row = {"task": str(row["task"]), "config": options}
    for key, default in (("size", 500), ("seed", 0)):
        spec[key] = default if row.get(key) is None else row[key]
    return spec


def _given(row: Row, source: str) -> GymProblem:
    entry = read_entry(row)
    if entry is None:
        what = f"neither a task nor a problem of reasoning-gym: {str(dict(row))[:100]}"
        fix = 'Write {"task": "chain_sum", "size": 500, "seed": 1}'
        raise DatasetError(Finding(source, what, fix))
    return entry

"""reasoning-gym's tasks -> chat prompts: made on the spot from rows that name them, without a hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from axolotl_grpo_plugin.rewards.gym import INSTALL, GymProblem, read_entry
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError, source_of, within_budget

SYSTEM_PROMPT = """Think first, then give the answer alone, in the form that is asked for. Respond in the following format:
<think>
...
</think>
<answer>
...
</answer>"""

# In a process of its own: some generators go through sets, whose order Python draws anew in each process
# where it is not told, and all ranks of a run must make the same problems.
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


def gym(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for reasoning-gym: rows that each name a task become its problems.

    A row is {"task": "chain_sum", "size": 500, "seed": 1, "config": {"max_terms": 3}}: size (500), seed (0)
    and config (reasoning-gym's options of the task) may be left out. The same row makes the same problems
    anywhere. Or a row is a problem of reasoning-gym: `question`, `answer`, `metadata` (an object or its
    JSON text). Each problem gets a `prompt`, chat messages that ask for `<think>` and `<answer>` blocks,
    `entry`, its JSON text, which `rewards.gym` reads, and `data_source`, "reasoning_gym/<task>"; no other
    column stays. Problems with too long a prompt are dropped, with their count.

    YAML keys read (see args.py): `grpo_system_prompt`, `grpo_system_in`, `grpo_max_prompt_length`.

    Source: https://github.com/open-thought/reasoning-gym (Apache-2.0; the extra `gym` installs it).

    Raises: DatasetError with dataset and row for a task or an option that is not reasoning-gym's.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")
    opening = instructions(
        cfg.get("grpo_system_prompt") or SYSTEM_PROMPT,
        in_system_turn=cfg.get("grpo_system_in") == "system",
    )

    def transform(columns: dict[str, list[Any]], tokenizer: Any) -> dict[str, list[Any]]:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        specs = [_spec(row, source) for row in rows if row.get("task") is not None]
        generated = iter(_generate(specs, source) if specs else ())
        entries = [
            entry
            for row in rows
            for entry in (next(generated) if row.get("task") is not None else [_given(row, source)])
        ]
        made: dict[str, list[Any]] = {
            "prompt": [opening(entry.question.strip()) for entry in entries],
            "entry": [json.dumps(entry._asdict(), ensure_ascii=False) for entry in entries],
            "data_source": [
                f"reasoning_gym/{entry.metadata['source_dataset']}" for entry in entries
            ],
        }
        return within_budget(made, range(len(entries)), tokenizer, budget, source)

    # Without indices: Axolotl 0.21 cannot give them where columns are removed.
    return transform, {"batched": True, "batch_size": 1_000, "remove_columns": "__all__"}


def _generate(specs: Sequence[Mapping[str, Any]], source: str) -> Iterator[list[GymProblem]]:
    """The problems of each. DatasetError for one that reasoning-gym does not make."""
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
            close = get_close_matches(spec["task"], known, n=1)
            fix = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}"
            raise DatasetError(f"{where}: reasoning-gym has no such task. {fix}")
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
        raise DatasetError(f'{where}: "config" is no object of options: {config!r}')
    spec = {"size": 500 if size is None else size, "seed": 0 if seed is None else seed}
    for key, value in spec.items():
        if not isinstance(value, int) or value < (key == "size"):
            raise DatasetError(f'{where}: "{key}" is no whole number that can be: {value!r}')
    # Where rows differ in their options, datasets has None for those that one lacks.
    options = {key: value for key, value in config.items() if value is not None}
    return {"task": str(row["task"]), **spec, "config": options}


def _given(row: Mapping[str, Any], source: str) -> GymProblem:
    """A problem that is one already. DatasetError where it is none."""
    entry = read_entry(row)
    if entry is None:
        raise DatasetError(
            f"{source}: neither a task nor a problem of reasoning-gym: {str(dict(row))[:100]}: "
            'write {"task": "chain_sum", "size": 500, "seed": 1}'
        )
    return entry

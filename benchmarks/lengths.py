"""Measure prompts per second and memory of `python stats.py`. Print results/lengths.md.

    python -m benchmarks.lengths --gsm8k FOLDER --tokenizer FOLDER [--rows 100000 1000000]

The first FOLDER has GSM8K's train.jsonl, the second a tokenizer's files.

Each wall time is the best of several repetitions, because the machine is shared. All ways to count must
find the same lengths.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from itertools import batched
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
import yaml
from axolotl.utils.dict import DictDefault
from datasets.fingerprint import Hasher
from transformers import AutoTokenizer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.measure import measure
from axolotl_grpo_plugin.data.rows import BATCH, Transform, read, sources
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from benchmarks.all import facts
from benchmarks.speeds import record

ROOT = Path(__file__).parents[1]
TRANSFORM = "axolotl_grpo_plugin.gsm8k"
REPEAT = 5
ASKED = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}

# Runs a command, and prints its seconds, its largest resident size in MiB and its output. It is a
# small process, because a child's peak is never below its parent's size at the fork.
LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE, text=True)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([seconds, peak, done.stdout]))
"""

IMPORTS = """
import sys
from datasets import load_dataset
from transformers import AutoTokenizer
"""
# A usual script: finds only the longest prompt.
THEIRS = f"""{IMPORTS}
folder, file, opening = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
def count(row):
    chat = [{{"role": "user", "content": opening + row["question"]}}]
    made = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return {{"n": len(made["input_ids"])}}
print(max(load_dataset("json", data_files=file, split="train").map(count)["n"]))
"""


def config(file, tokenizer):
    entry = {"path": str(file), "ds_type": "json", "split": "train", "type": TRANSFORM}
    trl = {"max_completion_length": 512}
    return {"rl": "grpo", "base_model": str(tokenizer), "trl": trl, "datasets": [entry]}


def best(ways):
    """Return seconds and result of each way: the best of REPEAT rounds, after one to warm up."""
    seconds, results = dict.fromkeys(ways, float("inf")), {}
    for number in range(REPEAT + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            results[name] = way()
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds, results


def encoding(file, folder):
    """Print part 1: ways to count in one process. Return the longest prompt."""
    cfg = DictDefault(config(file, folder))
    (source,) = sources(Config(cfg))
    ours, theirs = open_tokenizer(Config(cfg)), AutoTokenizer.from_pretrained(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    make = Transform(source, Config(cfg), theirs)

    def batches():
        return read(source, Config(cfg))

    prompts = [row["prompt"] for batch in batches() for (row,) in make(batch)]
    texts = list(batched((ours.text(prompt) for prompt in prompts), BATCH))
    rows = datasets.Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    datasets.disable_caching()
    datasets.disable_progress_bars()

    def one(row):
        return {"n": len(theirs.apply_chat_template(row["prompt"], **ASKED)["input_ids"])}

    def many(rows):
        made = theirs.apply_chat_template(rows["prompt"], **ASKED)["input_ids"]
        return {"n": [len(ids) for ids in made]}

    ways = {
        "(a) `encode_batch_fast` of rendered texts: the limit": lambda: [
            len(made)
            for batch in texts
            for made in backend.encode_batch_fast(batch, add_special_tokens=False)
        ],
        "(b) `Tokenizer.prompts`: renders and encodes": lambda: [
            count for batch in batched(prompts, BATCH) for count in ours.prompts(batch)
        ],
        "(c) `measure`: from the file": lambda: measure(source, Config(cfg), ours),
        "(d) `datasets.map(lambda row: ...)`": lambda: rows.map(one)["n"][:],
        "(e) `datasets.map(batched=True)`": lambda: rows.map(many, batched=True)["n"][:],
        "reading": lambda: sum(map(len, batches())),
        "reading and the transform": lambda: [len(make(batch)) for batch in batches()],
        "hashing": lambda: Hasher.hash(one),
    }
    seconds, results = best(ways)
    limit, *others = list(ways)[:5]
    rendered, measured, by_row, by_batch = others
    results[measured] = results[measured].prompts.counts  # has no order
    for name in others:
        if results[name] != (Counter(results[limit]) if name == measured else results[limit]):
            raise ValueError(f"{name} counts otherwise than {limit}")
    print(f"\n## {len(prompts):,} prompts of GSM8K, {sum(results[limit]):,} tokens\n")
    print(f"In one process, best of {REPEAT} rounds in turn after one to warm up. (a), (b), (c):")
    print(f"{BATCH:,} at a time, by {ours.how}. (d), (e): their caching off.\n")
    print("| | prompts/s | of the limit | times the limit's seconds |\n|---|---:|---:|---:|")
    for name in (limit, *others):
        rate, share = len(prompts) / seconds[name], seconds[limit] / seconds[name]
        print(f"| {name} | {rate:,.0f} | {share:.1%} | {1 / share:.2f} |")
    record(
        "lengths",
        {f"{name}, of (a)": seconds[name] / seconds[limit] for name in (rendered, measured)},
    )
    reading, hashing = seconds["reading"], seconds["hashing"]
    without = [len(prompts) / (seconds[name] - hashing) for name in (by_row, by_batch)]
    print(f"""
(c) takes {seconds[measured]:.2f} s. Each alone: the prompts as in (b) {seconds[rendered]:.2f}, reading
{reading:.2f}, the transform {seconds["reading and the transform"] - reading:.2f}.

(d) and (e) hash their function and its tokenizer, {hashing:.2f} s whatever the rows; less that,
{without[0]:,.0f} and {without[1]:,.0f} prompts/s.

All five find the same lengths.""")
    return max(results[limit])


def launched(*command, cache=None):
    """Run a Python command. Return its seconds, peak MiB and output."""
    python = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache)} if cache else None
    done = subprocess.run(
        [*python, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return json.loads(done.stdout)


def longest(printed):
    """Return the rows and the longest prompt in the output of `stats.py --json`."""
    prompts = json.loads(printed)["prompts"]
    return prompts["rows"], prompts["max"]


def processes(file, folder, most, work):
    """Print part 2: whole commands. most: the longest prompt that they must find."""
    yaml_file = work / "gsm8k.yaml"
    yaml_file.write_text(yaml.safe_dump(config(file, folder)))
    script = ["-c", THEIRS, folder, file, f"{SYSTEM_PROMPT}\n\n"]
    _, found = longest(launched("stats.py", yaml_file, "--json")[2])
    runs = {
        "`stats.py` on GSM8K": [],
        "`stats.py configs/quickstart.yaml`": [],
        "transformers and datasets on GSM8K, first time": [],
        "the same again, with its cache": [],
        "its imports alone": [],
    }
    for _ in range(4):
        cache = tempfile.mkdtemp(dir=work)
        ours = [["stats.py", yaml_file], ["stats.py", "configs/quickstart.yaml"]]
        commands = [*ours, script, script, ["-c", IMPORTS]]
        for made, command in zip(runs.values(), commands, strict=True):
            made.append(launched(*command, cache=cache))
    theirs = {int(printed) for name in list(runs)[2:4] for *_, printed in runs[name]}
    if {found, most} | theirs != {most}:
        raise ValueError(f"the longest prompt: {most}, {found} and {theirs}")
    print("\n## The whole command, from a new interpreter\n")
    print(f"Best of 3, in turn, after one to warm the files. All find the longest, {most} tokens;")
    print("theirs finds nothing else.\n\n| | seconds | peak MiB |\n|---|---:|---:|")
    for name, (_, *made) in runs.items():
        seconds, peak = min(each[0] for each in made), max(each[1] for each in made)
        print(f"| {name} | {seconds:.1f} | {peak:,.0f} |")


def write(file, rows, path):
    """Write GSM8K's rows again and again; Parquet in row groups of a million, the default."""
    with file.open() as opened:
        lines = opened.readlines()
    if path.suffix == ".jsonl":
        with path.open("w") as opened:
            for number in range(rows):
                opened.write(lines[number % len(lines)])
        return
    table = pa.Table.from_pylist([json.loads(line) for line in lines])
    repeated = pa.concat_tables([table] * (rows // len(lines) + 1))  # copies nothing
    pq.write_table(repeated.slice(0, rows), path)


def memory(file, folder, sizes, work):
    """Print part 3: time and memory for large files."""
    print("\n## Memory\n\n`stats.py --data FILE --tokenizer FOLDER --transform", end=" ")
    print(f"{TRANSFORM}`, once each.\n\n| rows | file | MB | seconds | rows/s | peak MiB |")
    print("|---:|---|---:|---:|---:|---:|")
    for rows in sizes:
        for kind in ("jsonl", "parquet"):
            path = work / f"{rows}.{kind}"
            write(file, rows, path)
            options = ["--data", path, "--tokenizer", folder, "--transform", TRANSFORM]
            seconds, peak, printed = launched("stats.py", *options, "--json")
            if longest(printed)[0] != rows:
                raise ValueError(f"{path}: {longest(printed)[0]} rows of {rows} were counted")
            size = path.stat().st_size / 1e6
            rate = f"{seconds:.1f} | {rows / seconds:,.0f} | {peak:,.0f}"
            print(f"| {rows:,} | {kind} | {size:,.0f} | {rate} |", flush=True)
            path.unlink()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gsm8k", type=Path, required=True)
    arguments.add_argument("--tokenizer", type=Path, required=True)
    arguments.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    options = arguments.parse_args()
    file, folder = (options.gsm8k / "train.jsonl").absolute(), options.tokenizer.absolute()
    print(
        "# Prompt lengths: prompts per second, and memory\n\nMade by `python -m benchmarks.lengths"
    )
    print(f"--gsm8k FOLDER --tokenizer {folder.name}` on {date.today()}.")
    print(" ".join(__doc__.split("\n\n")[-1].split()), "\n\n" + facts("tokenizers", "datasets"))
    most = encoding(file, folder)
    with tempfile.TemporaryDirectory() as work:
        processes(file, folder, most, Path(work))
        memory(file, folder, options.rows, Path(work))


if __name__ == "__main__":
    main()

"""`view --serve`: a page gets the steps that it lacks, and no others."""

import gzip
import json
import re
import subprocess
from collections import Counter
from importlib.resources import files
from random import Random
from shutil import which
from statistics import median as exact_median

import pytest

from axolotl_grpo_plugin.viewer import run
from axolotl_grpo_plugin.viewer.page import Live
from axolotl_grpo_plugin.viewer.run import RunRecord
from axolotl_grpo_plugin.viewer.signs import median
from tests.viewer.data import RANGES, write_eval, write_held_out, write_run, write_step


def unpacked(data):
    return json.loads(gzip.decompress(data))["runs"]


def add_step(folder, step, attempt=1):
    rows = [(f"p{step % 3}", f"text {step} {number} " + "x" * 50, number % 2, 0.5) for number in range(8)]
    write_step(folder, step, rows, attempt)


def test_new_step_costs_the_same_after_many_steps(tmp_path):
    sizes = []
    for folder, steps in ((tmp_path / "short", 5), (tmp_path / "long", 200)):
        for step in range(1, steps + 1):
            add_step(folder, step)
        live = Live([RunRecord(folder)])
        live.newer(0)
        add_step(folder, steps + 1)
        news = live.newer(1)
        (data,) = unpacked(news)
        assert data["from"] == steps + 1 and len(data["text"]) == 8 and len(data["steps"]) == 1
        sizes.append(len(news))
    assert sizes[1] < 1.2 * sizes[0]


def test_page_gets_all_changes_since_its_version(tmp_path):
    add_step(tmp_path, 1)
    live = Live([RunRecord(tmp_path)])
    assert unpacked(live.newer(0))[0]["from"] == 0 and live.newer(1) is None
    for step in (2, 3):
        add_step(tmp_path, step)
        assert unpacked(live.newer(live.version))[0]["from"] == step
    assert [step["step"] for step in unpacked(live.newer(1))[0]["steps"]] == [2, 3]
    assert unpacked(live.newer(99))[0]["from"] == 0  # the page of an earlier server
    write_held_out(tmp_path, [0.0], [2.0], RANGES)
    (data,) = unpacked(live.newer(live.version))
    assert data["from"] is None and data["text"] == [] and len(data["answers"]) == 1
    add_step(tmp_path, 2, attempt=2)
    assert unpacked(live.newer(live.version))[0]["from"] == 0  # steps 2 and 3 are gone


@pytest.mark.parametrize("size", [40_000_000, 2000])
def test_page_with_news_is_the_page_of_the_whole_run(tmp_path, monkeypatch, size):
    """Runs the function of page.js in Node."""
    if not which("node"):
        pytest.skip("Node is not installed")
    monkeypatch.setattr(run, "SIZE", size)
    folder = write_run(tmp_path, steps=3)
    live = Live([RunRecord(folder)])
    pages = [unpacked(live.newer(0))[0]]
    write_step(folder, 3, [("p", "of another rank", 1, 0.0)], rank=[1])
    pages.append(unpacked(live.newer(1))[0])
    write_step(folder, 4, [("p", "text", 1, 0.0), ("new", "text", 0, 0.0)])
    write_eval(folder)
    pages.append(unpacked(live.newer(2))[0])
    script = files("axolotl_grpo_plugin.viewer").joinpath("page.js").read_text()
    joined = re.search(r"^function joined.*?^}", script, re.DOTALL | re.MULTILINE)[0]
    code = f"{joined}\nprocess.stdout.write(JSON.stringify({json.dumps(pages)}.reduce(joined)));"
    (tmp_path / "page.js").write_text(code)
    done = subprocess.run(["node", tmp_path / "page.js"], check=True, stdout=subprocess.PIPE, text=True)
    page, whole = json.loads(done.stdout), unpacked(live.newer(0))[0]
    if size > 1_000_000:
        # Signs depend on the median length at their time.
        assert page | {"from": 0, "signs": []} == whole | {"signs": []}
    assert len(page["text"]) == len(page["signs"]) == sum(count for _, _, count in page["groups"])
    assert page["steps"] == whole["steps"]


def test_median_of_counts():
    random = Random(0)
    for count in range(1, 40):
        numbers = [random.randrange(9) for _ in range(count)]
        assert median(Counter(numbers)) == exact_median(numbers)
    assert median(Counter()) == 0

"""Held-out rows that are trained on, options that no prompt shows, and a precision that a CPU lacks."""

import pytest

from axolotl_grpo_plugin.checks.data import read_data
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.checks.ranges import check_ranges
from axolotl_grpo_plugin.checks.samples import check_samples
from axolotl_grpo_plugin.checks.traps import check_precision
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.serving.placement import place
from axolotl_grpo_plugin.trying.samples import Sample
from tests.checks.found import codes, levels
from tests.conftest import MODEL, write_rows

ROWS = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(8)]
EXACT = "axolotl_grpo_plugin.rewards.puzzles.exact_reward_func"


@pytest.mark.parametrize(
    "split, held_out, count",
    [
        ("train", "train[:4]", "4 of 4"),
        ("train[4:]", "train[:4]", ""),
        ("train[3:]", "train[:4]", "1 of 4"),
        ("train", "train", "8 of 8"),
    ],
)
def test_held_out_rows_that_are_trained_on(tmp_path, split, held_out, count):
    entry = {
        "path": str(write_rows(tmp_path / "a.jsonl", ROWS)),
        "type": "axolotl_grpo_plugin.gsm8k",
        "ds_type": "json",
    }
    cfg = {"base_model": str(MODEL), "datasets": [{**entry, "split": split}]}
    cfg["test_datasets"] = [{**entry, "split": held_out}]
    config = Config(cfg)
    data = read_data(config, sources(config), offline=True, scored=False)
    found = [finding for finding in check_prompts(config, data) if finding.code == "held-out-trained"]
    assert [finding.what[: len(count)] for finding in found] == ([count] if count else [])


@pytest.mark.parametrize(
    "cfg, gpus, found",
    [
        ({"bf16": "auto"}, (), ["no-precision"]),
        ({"fp16": True}, (), ["no-precision"]),
        ({"bf16": True}, (), []),
        ({"bf16": False, "fp16": False}, (), []),
        ({"bf16": "auto"}, ("0",), []),
        ({"fp16": True}, ("0",), []),
    ],
)
def test_precision_of_a_cpu(cfg, gpus, found):
    config = Config({"trl": {}, **cfg})
    assert codes(check_precision(config, place(config, gpus, None))) == found
    assert codes(check_precision(config, None)) == []


@pytest.mark.parametrize(
    "rate, is_wrong", [("1e5", True), (1e5, True), (1.0, True), (0.1, True), (0.05, False), (1e-6, False)]
)
def test_learning_rate_that_is_a_slip(rate, is_wrong):
    assert codes(check_ranges(Config({"learning_rate": rate}))) == ["out-of-range"] * is_wrong


CITIES = dict(zip("ABCD", ["Rome", "Berlin", "Madrid", "Paris"], strict=True))


@pytest.mark.parametrize(
    "prompt, columns, found",
    [
        ("Capital of France?", {**CITIES, "answer": "D"}, [("warning", "unseen-options")]),
        ("Capital of France?", {"choices": [*CITIES.values()], "answer": 3}, [("warning", "unseen-options")]),
        ("Capital of France?\nA) Rome\nD) Paris", {**CITIES, "answer": "D"}, []),
        ("Capital of France?", {"answer": "D"}, []),
        ("Capital of France?", {**CITIES, "answer": "none of them"}, []),
    ],
)
def test_options_that_no_prompt_shows(prompt, columns, found):
    row = {"prompt": [{"role": "user", "content": prompt}], "solution": str(columns["answer"]), **columns}
    findings = check_samples(Config({"trl": {"reward_funcs": [EXACT]}}), [Sample(row, None)])
    assert [pair for pair in levels(findings) if pair[1] == "unseen-options"] == found

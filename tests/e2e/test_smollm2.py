"""A real model on real GSM8K."""

import json
import shutil

import pandas
import pytest
import yaml

from axolotl_grpo_plugin.rewards import gsm8k as rewards
from tests.e2e.conftest import ROOT, axolotl

REWARDS = ("correctness", "int", "strict_format", "soft_format", "xmlcount")


def test_its_quickstart_runs(tmp_path, smollm2):
    config = yaml.safe_load((ROOT / "configs" / "quickstart-smollm2.yaml").read_text())
    config |= {"base_model": str(smollm2), "max_steps": 2, "grpo_held_out_rows": 4}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    shown = axolotl("train", "config.yaml", cwd=tmp_path)
    assert "4 held-out rows, before and after training" in shown
    assert (tmp_path / "outputs" / "quickstart-smollm2" / "adapter_model.safetensors").exists()


def test_it_trains_on_gsm8k_and_is_paid_by_the_contract(tmp_path, smollm2, gsm8k):
    config = yaml.safe_load((ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu.yaml").read_text())
    shutil.copy(gsm8k / "train.jsonl", tmp_path / "train.jsonl")  # in place of the hub
    (dataset,) = config["datasets"]
    del dataset["name"]
    dataset |= {"path": "train.jsonl", "ds_type": "json"}
    config |= {"base_model": str(smollm2), "max_steps": 2, "save_steps": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    shown = axolotl("train", "config.yaml", cwd=tmp_path)
    assert "dropped" in shown and "of 7473 rows, whose prompts are longer than 192 tokens" in shown

    out = tmp_path / "outputs" / "gsm8k-smollm2-135m-cpu"
    logged = pandas.concat(
        map(pandas.read_parquet, sorted((out / "completions").glob("*.parquet")))
    )
    assert len(logged) == 2 * 16

    # The prompt that was trained on ends in its row's question, and so leads to the gold.
    rows = [json.loads(line) for line in (gsm8k / "train.jsonl").open()]
    gold = {row["question"].strip(): row["answer"].rpartition("####")[2].strip() for row in rows}
    for _, row in logged.iterrows():
        question = row["prompt"].rpartition("user\n")[2].removesuffix("assistant\n").strip()
        for name in REWARDS:
            function = getattr(rewards, f"{name}_reward_func")
            columns = {"answer": gold[question]} if function.reads else {}
            score = function.score(row["completion"], **columns)
            assert row[function.__name__] == pytest.approx(score.value)
            assert row[f"{function.__name__}/reason"] == score.reason

    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "reward" in log] == [1, 2]

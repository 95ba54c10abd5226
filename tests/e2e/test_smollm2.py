"""Train a real model, SmolLM2, also on real GSM8K."""

import json
import re
import shutil

import pytest

from axolotl_grpo_plugin.rewards import gsm8k as rewards
from tests.e2e.conftest import axolotl, completions, history, shipped_config, write

REWARDS = ("correctness", "int", "strict_format", "soft_format", "xmlcount")


pytestmark = pytest.mark.slow  # test_scoring.py compares the scores of the embedded model


@pytest.fixture(scope="module")
def trained(tmp_path_factory, smollm2, gsm8k):
    """The output_dir of a run of one step on real GSM8K."""
    folder = tmp_path_factory.mktemp("gsm8k")
    shutil.copy(gsm8k / "train.jsonl", folder / "train.jsonl")  # in place of the hub
    changes = {"base_model": str(smollm2), "max_steps": 1, "save_steps": 1, "grpo_rollouts": True}
    changes |= {"gradient_accumulation_steps": 2, "trl__max_completion_length": 64, "sequence_len": 216}
    changes["grpo_cpu_threads"] = 1  # another worker has the other core
    config = shipped_config("gsm8k/smollm2-135m-cpu", **changes)
    (dataset,) = config["datasets"]
    del dataset["name"]
    dataset |= {"path": "train.jsonl", "ds_type": "json"}
    printed = axolotl("train", write(folder, config), cwd=folder)
    assert re.search("dropped .* of 7473 rows, whose prompts are longer than 152 tokens", printed)
    return folder / "outputs" / "gsm8k-smollm2-135m-cpu"


def test_trains_on_gsm8k_with_the_scores_of_the_rewards(trained, gsm8k):
    logged = completions(trained, steps=1)
    assert len(logged) == 16
    # A prompt ends with its row's question, which leads to the gold answer.
    rows = [json.loads(line) for line in (gsm8k / "train.jsonl").open()]
    gold = {row["question"].strip(): row["answer"].rpartition("####")[2].strip() for row in rows}
    for row in logged:
        question = row["prompt"].rpartition("user\n")[2].removesuffix("assistant\n").strip()
        for name in REWARDS:
            function = getattr(rewards, f"{name}_reward_func")
            columns = {"answer": gold[question]} if function.spec.reads else {}
            score = function.score(row["completion"], **columns)
            assert row[function.__name__] == pytest.approx(score.value)
            assert row[f"{function.__name__}/reason"] == score.reason
    assert (trained / "adapter_model.safetensors").exists()
    assert [log["step"] for log in history(trained, 1)] == [1]

"""Train a real model, SmolLM2, also on real GSM8K."""

import json
import re
import shutil

import pytest

from axolotl_grpo_plugin.rewards import gsm8k as rewards
from axolotl_grpo_plugin.stats.rollouts import read_rollouts
from axolotl_grpo_plugin.stats.rows import Transform, read, sources
from axolotl_grpo_plugin.stats.tokenizer import FastTokenizer, open_tokenizer
from tests.e2e.conftest import axolotl, completions, shipped_config, write

REWARDS = ("correctness", "int", "strict_format", "soft_format", "xmlcount")


SPY = '''
import json
from axolotl.integrations.base import BasePlugin

class Spy(BasePlugin):
    """Log each prompt that the trainer generates from, and its token ids."""

    def post_trainer_create(self, cfg, trainer):
        tokenize = trainer._tokenize_prompts

        def spied(prompts):
            tokenized = tokenize(prompts)
            with open("prompts.jsonl", "a") as file:
                for prompt, ids in zip(prompts, tokenized[0], strict=True):
                    print(json.dumps([prompt, ids]), file=file)
            return tokenized

        trainer._tokenize_prompts = spied
'''


def on_gsm8k(test):
    return pytest.mark.xdist_group("smollm2 on gsm8k")(pytest.mark.seconds(80)(test))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, smollm2, gsm8k):
    """The folder, output_dir and config of a run of one step on real GSM8K."""
    folder = tmp_path_factory.mktemp("gsm8k")
    shutil.copy(gsm8k / "train.jsonl", folder / "train.jsonl")  # in place of the hub
    (folder / "spy.py").write_text(SPY)
    changes = {"base_model": str(smollm2), "max_steps": 1, "save_steps": 1, "grpo_rollouts": True}
    changes["grpo_cpu_threads"] = 1  # another worker has the other core
    config = shipped_config("gsm8k/smollm2-135m-cpu", **changes)
    (dataset,) = config["datasets"]
    del dataset["name"]
    dataset |= {"path": "train.jsonl", "ds_type": "json"}
    config["plugins"].append("spy.Spy")
    printed = axolotl("train", write(folder, config), cwd=folder)
    assert re.search("dropped .* of 7473 rows, whose prompts are longer than 192 tokens", printed)
    return folder, folder / "outputs" / "gsm8k-smollm2-135m-cpu", config


@on_gsm8k
def test_trains_on_gsm8k_with_the_scores_of_the_rewards(trained, gsm8k):
    _, out, _ = trained
    logged = completions(out, steps=1)
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
    assert (out / "adapter_model.safetensors").exists()
    state = json.loads((out / "checkpoint-1" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "reward" in log] == [1]


@on_gsm8k
def test_stats_counts_the_tokens_that_the_trainer_gets(trained, monkeypatch):
    folder, _, config = trained
    monkeypatch.chdir(folder)
    tokenizer = open_tokenizer(config)
    assert isinstance(tokenizer, FastTokenizer)  # not transformers'
    (source,) = sources(config)
    transform = Transform(source, config, None)
    prompts = [
        each["prompt"]
        for batch in read(source, config, lambda *_: None, lambda *_: None)
        for row in transform(batch)
        for each in row
    ]
    counts = dict(zip(map(json.dumps, prompts), tokenizer.prompts(prompts), strict=True))
    lines = (folder / "prompts.jsonl").read_text().splitlines()
    assert len(lines) == 16
    for prompt, ids in map(json.loads, lines):
        assert counts[json.dumps(prompt)] == len(ids)
        assert tokenizer.ids([tokenizer.text(prompt)]) == [ids]


@on_gsm8k
def test_stats_counts_completions_of_either_log(trained, monkeypatch):
    folder, out, config = trained
    monkeypatch.chdir(folder)
    limit = config["trl"]["max_completion_length"]
    logged = read_rollouts(out, None, None)
    guessed = read_rollouts(out / "completions", open_tokenizer(config), limit)
    assert (logged.estimated, guessed.estimated) == (False, True)
    assert logged.rows == guessed.rows == 16
    assert logged.right == guessed.right
    # Tokenizing a text can give other tokens than were generated.
    assert abs(logged.truncated - guessed.truncated) <= 2
    assert max(logged.limit, guessed.limit) <= limit

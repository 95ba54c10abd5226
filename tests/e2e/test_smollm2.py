"""A real model on real GSM8K."""

import json
import shutil

import pandas
import pytest
import yaml

from axolotl_grpo_plugin.rewards import gsm8k as rewards
from axolotl_grpo_plugin.stats.rollouts import read_rollouts
from axolotl_grpo_plugin.stats.rows import Transform, read, sources
from axolotl_grpo_plugin.stats.tokenizer import FastTokenizer, open_tokenizer
from tests.e2e.conftest import ROOT, axolotl

REWARDS = ("correctness", "int", "strict_format", "soft_format", "xmlcount")


@pytest.mark.seconds(80)
def test_its_quickstart_runs(tmp_path, smollm2):
    config = yaml.safe_load((ROOT / "configs" / "quickstart-smollm2.yaml").read_text())
    config |= {"base_model": str(smollm2), "max_steps": 1, "grpo_held_out_rows": 4}
    config["grpo_cpu_threads"] = 1  # another worker has the other core
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    shown = axolotl("train", "config.yaml", cwd=tmp_path)
    assert "4 held-out rows, before and after training" in shown
    assert (tmp_path / "outputs" / "quickstart-smollm2" / "adapter_model.safetensors").exists()


SPY = '''
import json
from axolotl.integrations.base import BasePlugin

class Spy(BasePlugin):
    """Writes down each prompt that the trainer generates from, and its token ids."""

    def post_trainer_create(self, cfg, trainer):
        tokenize = trainer._tokenize_prompts

        def spied(prompts):
            made = tokenize(prompts)
            with open("fed.jsonl", "a") as file:
                for prompt, ids in zip(prompts, made[0], strict=True):
                    print(json.dumps([prompt, ids]), file=file)
            return made

        trainer._tokenize_prompts = spied
'''


def on_gsm8k(test):
    return pytest.mark.xdist_group("smollm2 on gsm8k")(pytest.mark.seconds(80)(test))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, smollm2, gsm8k):
    """The folder and the config of a run on real GSM8K, of one step."""
    folder = tmp_path_factory.mktemp("gsm8k")
    config = yaml.safe_load((ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu.yaml").read_text())
    shutil.copy(gsm8k / "train.jsonl", folder / "train.jsonl")  # in place of the hub
    (dataset,) = config["datasets"]
    del dataset["name"]
    dataset |= {"path": "train.jsonl", "ds_type": "json"}
    config |= {"base_model": str(smollm2), "max_steps": 1, "save_steps": 1, "grpo_rollouts": True}
    config["grpo_cpu_threads"] = 1  # another worker has the other core
    config["plugins"].append("spy.Spy")
    (folder / "spy.py").write_text(SPY)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    shown = axolotl("train", "config.yaml", cwd=folder)
    assert "dropped" in shown and "of 7473 rows, whose prompts are longer than 192 tokens" in shown
    return folder, folder / "outputs" / "gsm8k-smollm2-135m-cpu", config


@on_gsm8k
def test_it_trains_on_gsm8k_and_is_paid_by_the_contract(trained, gsm8k):
    _, out, _ = trained
    logged = pandas.concat(
        map(pandas.read_parquet, sorted((out / "completions").glob("*.parquet")))
    )
    assert len(logged) == 16

    # The prompt that was trained on ends in its row's question, and so leads to the gold.
    rows = [json.loads(line) for line in (gsm8k / "train.jsonl").open()]
    gold = {row["question"].strip(): row["answer"].rpartition("####")[2].strip() for row in rows}
    for _, row in logged.iterrows():
        question = row["prompt"].rpartition("user\n")[2].removesuffix("assistant\n").strip()
        for name in REWARDS:
            function = getattr(rewards, f"{name}_reward_func")
            columns = {"answer": gold[question]} if function.spec.reads else {}
            score = function.score(row["completion"], **columns)
            assert row[function.__name__] == pytest.approx(score.value)
            assert row[f"{function.__name__}/reason"] == score.reason

    state = json.loads((out / "checkpoint-1" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "reward" in log] == [1]


@on_gsm8k
def test_the_trainer_is_fed_what_stats_py_counts(trained, monkeypatch):
    folder, _, config = trained
    monkeypatch.chdir(folder)
    tokenizer = open_tokenizer(config)
    assert isinstance(tokenizer, FastTokenizer)  # without transformers
    (source,) = sources(config)
    transform = Transform(source, config, None)
    prompts = [
        made["prompt"]
        for batch in read(source, config, lambda *_: None, lambda *_: None)
        for row in transform(batch)
        for made in row
    ]
    counts = dict(zip(map(json.dumps, prompts), tokenizer.prompts(prompts), strict=True))
    fed = [json.loads(line) for line in (folder / "fed.jsonl").read_text().splitlines()]
    assert len(fed) == 16
    for prompt, ids in fed:
        assert counts[json.dumps(prompt)] == len(ids)
        assert tokenizer.ids([tokenizer.text(prompt)]) == [ids]


@on_gsm8k
def test_completions_are_counted_from_either_log(trained, monkeypatch):
    folder, out, config = trained
    monkeypatch.chdir(folder)
    limit = config["trl"]["max_completion_length"]
    logged = read_rollouts(out, None, None)
    guessed = read_rollouts(out / "completions", open_tokenizer(config), limit)
    assert (logged.estimated, guessed.estimated) == (False, True)
    assert logged.rows == guessed.rows == 16
    assert logged.right == guessed.right
    # Text can be cut into other tokens than were generated.
    assert abs(logged.truncated - guessed.truncated) <= 2
    assert max(logged.limit, guessed.limit) <= limit

"""Train a real model, SmolLM2, also on real GSM8K."""

import json
import re
import shutil

import pytest

from axolotl_grpo_plugin.environments.tools import calculator
from axolotl_grpo_plugin.rewards import gsm8k as rewards
from axolotl_grpo_plugin.stats.rollouts import read_rollouts
from axolotl_grpo_plugin.stats.rows import Transform, read, sources
from axolotl_grpo_plugin.stats.tokenizer import FastTokenizer, open_tokenizer
from tests.conftest import QUICKSTART
from tests.e2e.conftest import axolotl, completions, rollouts, shipped_config, write

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
    changes |= {"gradient_accumulation_steps": 2, "trl__max_completion_length": 64, "sequence_len": 216}
    changes["grpo_cpu_threads"] = 1  # another worker has the other core
    config = shipped_config("gsm8k/smollm2-135m-cpu", **changes)
    (dataset,) = config["datasets"]
    del dataset["name"]
    dataset |= {"path": "train.jsonl", "ds_type": "json"}
    config["plugins"].append("spy.Spy")
    printed = axolotl("train", write(folder, config), cwd=folder)
    assert re.search("dropped .* of 7473 rows, whose prompts are longer than 152 tokens", printed)
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


SHOWN = {
    "Ann has 31 bags with 12 eggs in each. How many eggs does Ann have?": "31 * 12",
    "Tom has 45 pens and gives away 27. How many pens are left?": "45 - 27",
    "Sue finds 51 keys in one box and 24 in another. How many keys is that?": "51 + 24",
}


def with_calculator(folder, smollm2, **changes):
    """Return a config of SmolLM2 with a calculator, whose template is short. Each prompt shows three calls."""
    model = folder / "model"
    shutil.copytree(smollm2, model)
    tools = QUICKSTART / "tools" / "model"
    shutil.copy(tools / "chat_template.jinja", model)
    own, settings = (json.loads((each / "tokenizer_config.json").read_text()) for each in (tools, smollm2))
    settings = {**settings, "response_template": own["response_template"], "chat_template": None}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    chat = []
    for question, expression in SHOWN.items():
        call = {"name": "calculator", "arguments": {"expression": expression}}
        value = calculator(expression)
        called = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
        contents = {"user": f"Answer.\n\n{question}", "assistant": called, "tool": value}
        chat += [{"role": role, "content": text} for role, text in contents.items()]
        chat.append({"role": "assistant", "content": f"<answer>{value}</answer>"})
    with (folder / "train.jsonl").open("w") as file:
        for row in map(json.loads, (QUICKSTART / "tools" / "train.jsonl").open()):
            asked = [*chat, {"role": "user", "content": row["question"]}]
            gold = row["answer"].rpartition("#### ")[2]
            print(json.dumps({"question": asked, "answer": gold}), file=file)
    rows = {"path": str(folder / "train.jsonl"), "ds_type": "json", "split": "train"}
    config = shipped_config("gsm8k/smollm2-135m-cpu", gradient_accumulation_steps=1, **changes)
    del config["grpo_examples"], config["grpo_system_in"]
    return config | {
        "base_model": str(model),
        "datasets": [{**rows, "type": "axolotl_grpo_plugin.qa"}],
        "grpo_tools": ["axolotl_grpo_plugin.environments.tools.calculator"],
        "grpo_max_tool_calls": 1,
        "grpo_system_prompt": "Answer.",
        "grpo_rollouts": True,
        "sequence_len": 480,
        "output_dir": str(folder / "out"),
    }


@pytest.mark.slow
def test_calls_a_calculator_as_its_prompt_shows(tmp_path, smollm2):
    rewards = ["axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"]
    config = with_calculator(
        tmp_path, smollm2, max_steps=2, save_strategy="no", save_steps=None, trl__reward_funcs=rewards
    )
    config["trl"]["max_completion_length"] = 64
    axolotl("train", write(tmp_path, config))
    logged = rollouts(tmp_path / "out")
    called = logged[logged.tool_tokens > 0]
    assert len(logged) == 16 and len(called) > 4
    assert called["reward/correctness_reward_func"].max() == 2.0
    assert (called.completion_tokens < 64).all()  # without those of the calculator

"""The prompt that `check` shows has the ids that TRL trains on, for the templates of six model families."""

import json

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from tests.conftest import invoke, write_rows
from tests.data.families import BOS, tiny_model
from tests.e2e.conftest import axolotl, shipped_config, write

ROWS = [{"question": f"What is {n} + 4?", "answer": f"{n} + 4 = {n + 4} #### {n + 4}"} for n in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3", "qwen3_5", "llama3", "gemma3", "gptoss", "command_a"])
def test_ids_that_trl_saw_are_those_of_the_prompt_that_check_shows(tmp_path, family):
    config = shipped_config(
        base_model=tiny_model(tmp_path, family),
        datasets=[
            {
                "path": str(write_rows(tmp_path / "a.jsonl", ROWS)),
                "ds_type": "json",
                "split": "train",
                "type": "axolotl_grpo_plugin.gsm8k",
            }
        ],
        test_datasets=None,
        grpo_held_out_rows=None,
        plugins=["axolotl_grpo_plugin.GRPOPlugin", "tests.e2e.prompt_plugin.PromptIds"],
        trl__num_generations=2,
        trl__max_completion_length=8,
        micro_batch_size=8,
        sequence_len=1024,
        output_dir=str(tmp_path / "out"),
        max_steps=2,
    )
    file = write(tmp_path, config)
    shown = json.loads(invoke("check", file, "--gpus", "0", "--json").stdout)[0]
    text = shown["prompt"]
    assert shown["ok"] and "What is 0 + 4?" in text

    axolotl("train", file)
    seen = json.loads((tmp_path / "out" / "prompts.json").read_text())
    assert len(seen) >= 16  # two steps of four prompts with two completions
    ids = [ids for prompt, ids in seen if "What is 0 + 4?" in prompt[-1]["content"]]
    assert ids
    tokenizer = open_tokenizer(Config({"base_model": config["base_model"]}))
    assert all(each == tokenizer.ids([text])[0] for each in ids)
    if family in BOS:
        assert ids[0].count(tokenizer.bos) == 1

"""The rendered prompts of a loaded dataset are checked before the training."""

from datasets import Dataset

from axolotl_grpo_plugin.checks.datasets import _check_prompts
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from tests.checks.found import levels
from tests.data.families import tiny_model

USER, SYSTEM = {"role": "user", "content": "What is 17 + 4?"}, {"role": "system", "content": "Answer in one word."}


def test_lost_turns_of_any_row_are_found(tmp_path):
    cfg = Config({"base_model": tiny_model(tmp_path, "no_system")})
    rows = [{"prompt": [USER]}] * 5 + [{"prompt": [SYSTEM, USER]}] * 5
    found = list(_check_prompts("datasets", Dataset.from_list(rows), open_tokenizer(cfg)))
    assert levels(found) == [("error", "dropped-turn")]
    assert found[0].where == "datasets"
    assert levels(_check_prompts("datasets", Dataset.from_list(rows[:5]), open_tokenizer(cfg))) == []


def test_two_bos_tokens_of_text_prompts_are_found(tmp_path):
    cfg = Config({"base_model": tiny_model(tmp_path, "llama3")})
    tokenizer = open_tokenizer(cfg)
    bos = tokenizer.bos_text
    rows = Dataset.from_list([{"prompt": f"{bos}What is 17 + 4?"}])
    assert levels(_check_prompts("datasets", rows, tokenizer)) == [("error", "two-bos")]
    assert levels(_check_prompts("datasets", rows, None)) == []

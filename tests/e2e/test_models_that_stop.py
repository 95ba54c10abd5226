"""The end tokens of models as they are published, and `check` of models that cannot stop."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from axolotl_grpo_plugin.checks.prefill import check_end_tokens
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import end_tokens
from axolotl_grpo_plugin.data.tokenizer import open_tokenizer
from tests.conftest import MODEL, Later

transformers = Later("transformers")
TEMPLATES = Path(find_spec("trl").origin).parent / "chat_templates"
CHAT = [{"role": "user", "content": "1 + 1?"}]
# The template, the tokenizer's EOS token, those of generation_config.json, and those that only the template has.
MODELS = {
    "Qwen2.5": ("qwen2_5", "<|endoftext|>", "<|endoftext|>", "<|im_end|>"),
    "Llama-3-Instruct": ("llama3", "<|eot_id|>", "<|end_of_text|> <|eom_id|> <|eot_id|>", ""),
    "gemma-3-it": ("gemma3", "<eos>", "<eos> <end_of_turn>", ""),
    "gemma-3-it without that file": ("gemma3", "<eos>", "", "<end_of_turn>"),
    "Phi-3.5": ("phi3_5", "<|endoftext|>", "<|end|> <|assistant|> <|endoftext|>", ""),
    "Phi-3.5 without that file": ("phi3_5", "<|endoftext|>", "", "<|end|>"),
    "c4ai-command-r7b": ("cohere2", "<|endoftext|>", "", "<|END_OF_TURN_TOKEN|>"),  # after <|END_RESPONSE|>
    "gpt-oss": ("gptoss", "<|return|>", "<|return|> <|call|>", ""),  # <|end|> ends its thoughts
    "GLM-4.5": ("glm4moe", "<|endoftext|>", "<|endoftext|> <|user|> <|observation|>", ""),
}


@pytest.fixture
def ends_and_findings(tmp_path):
    """Return a function that writes a model's tokenizer and configs, and returns its end tokens and the findings."""

    def make(template, eos, declared, added="", prompt=CHAT, vocabulary=9999):
        tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL, bos_token="<|bos|>", eos_token=eos)
        tokenizer.add_special_tokens({"additional_special_tokens": f"{declared} {added}".split()})
        tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
        tokenizer.save_pretrained(tmp_path)
        model = {"eos_token_id": tokenizer.convert_tokens_to_ids(declared.split())}
        (tmp_path / "generation_config.json").write_text(json.dumps(model))
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": vocabulary}))
        ends = tokenizer.convert_ids_to_tokens(end_tokens(Config({}), tokenizer, model))
        cfg = Config({"base_model": str(tmp_path)})
        return {*ends}, [*map(str, check_end_tokens(cfg, open_tokenizer(cfg), prompt))]

    return make


@pytest.mark.parametrize("model", MODELS)
def test_end_tokens_are_the_models_the_tokenizers_and_the_templates(ends_and_findings, model):
    template, eos, declared, own = MODELS[model]
    ends, findings = ends_and_findings(template, eos, declared, f"{own} <|end|> <|END_RESPONSE|>")
    assert ends == {eos, *f"{declared} {own}".split()} and not findings


def test_check_reports_a_model_without_any_end_token(ends_and_findings):
    _, (line,) = ends_and_findings("glm4moe", None, "")
    assert line.startswith("base_model: neither the model nor its tokenizer has an end token, so no answer ends before")


def test_check_reports_an_end_of_turn_that_is_no_token_of_the_model(ends_and_findings):
    unknown = "chat template: it ends an answer with '<end_of_turn>', which is no token of the model"
    for more in ({}, {"added": "<end_of_turn>", "vocabulary": 450}):  # a text, and a token without weights
        _, (line,) = ends_and_findings("gemma3", "<|im_end|>", "", **more)
        assert line.startswith(unknown)
    assert not ends_and_findings("gemma3", "<|im_end|>", "", prompt="1 + 1?")[1]  # a text gets no template


def test_check_is_skipped_for_a_model_that_only_the_hub_has():
    cfg = Config({"base_model": "some/model", "tokenizer_config": str(MODEL)})
    (finding,) = check_end_tokens(cfg, open_tokenizer(cfg), CHAT)
    assert finding.level == "skipped"

"""The end tokens of models as they are published, and `check` of models that cannot stop."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from axolotl_grpo_plugin.checks.prefill import check_end_tokens
from axolotl_grpo_plugin.stats.end_tokens import end_tokens, turn_end
from tests.conftest import Later

pytestmark = pytest.mark.xdist_group("with torch")
transformers, tokenizers = Later("transformers"), Later("tokenizers")
TEMPLATES = Path(find_spec("trl").origin).parent / "chat_templates"
CHAT = [{"role": "user", "content": "1 + 1?"}]
# Its template, the tokenizer's EOS token, eos_token_id of generation_config.json, and the template's end of a turn.
MODELS = {
    "Qwen2.5": ("qwen2_5", "<|endoftext|>", ["<|endoftext|>"], "<|im_end|>"),
    "Qwen2.5-Instruct": ("qwen2_5", "<|im_end|>", ["<|im_end|>", "<|endoftext|>"], "<|im_end|>"),
    "Llama-3-Instruct": ("llama3", "<|eot_id|>", ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"], "<|eot_id|>"),
    "gemma-3-it": ("gemma3", "<eos>", ["<eos>", "<end_of_turn>"], "<end_of_turn>"),
    "Phi-3.5": ("phi3_5", "<|endoftext|>", ["<|end|>", "<|assistant|>", "<|endoftext|>"], "<|end|>"),
    "c4ai-command-r7b": ("cohere2", "<|END_OF_TURN_TOKEN|>", ["<|END_OF_TURN_TOKEN|>"], "<|END_OF_TURN_TOKEN|>"),
    "gpt-oss": ("gptoss", "<|return|>", ["<|return|>", "<|call|>"], None),  # <|end|> ends its thoughts
    "GLM-4.5": ("glm4moe", "<|endoftext|>", ["<|endoftext|>", "<|user|>", "<|observation|>"], None),
}
OTHERS = "<|im_start|> <|im_end|> <|end|> <|END_RESPONSE|> <|CHATBOT_TOKEN|> <start_of_turn> <|start|> <|bos|>".split()


@pytest.fixture
def made(tmp_path):
    """Return a function that writes a model's tokenizer and configs, and loads the tokenizer."""

    def make(template, eos, declared, more=OTHERS, vocabulary=None):
        special = list(dict.fromkeys([*more, *declared, *([eos] if eos else [])]))
        pre = tokenizers.pre_tokenizers.ByteLevel
        words = {word: number for number, word in enumerate([*sorted(pre.alphabet()), *special])}
        backend = tokenizers.Tokenizer(tokenizers.models.BPE(words, []))
        backend.pre_tokenizer = pre(add_prefix_space=False)
        backend.decoder = tokenizers.decoders.ByteLevel()
        backend.add_special_tokens(special)
        names = {"bos_token": "<|bos|>", "eos_token": eos, "pad_token": "!"}
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path)
        config = {"model_type": "llama", "vocab_size": vocabulary or len(words)}
        (tmp_path / "config.json").write_text(json.dumps(config))
        ids = tokenizer.convert_tokens_to_ids(declared)
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids or None}))
        return tokenizer

    return make


def template_of(name):
    return (TEMPLATES / f"{name}.jinja").read_text()


def findings(folder, prompt=CHAT):
    return [(each.level, str(each)) for each in check_end_tokens({"base_model": str(folder)}, prompt)]


@pytest.mark.parametrize("model", MODELS)
def test_end_tokens_are_the_models_the_tokenizers_and_the_templates(made, tmp_path, model):
    name, eos, declared, turn = MODELS[model]
    tokenizer = made(template_of(name), eos, declared)
    ids = tokenizer.convert_tokens_to_ids(declared)
    all_ends = tokenizer.convert_ids_to_tokens(end_tokens({}, tokenizer, {"eos_token_id": ids}))
    assert {*all_ends} == {*declared, eos, *([turn] if turn else [])}
    assert turn_end(tokenizer) == (tokenizer.convert_tokens_to_ids(turn) if turn else None)
    assert not findings(tmp_path)


def test_one_id_and_the_configs_own_are_end_tokens_too(made):
    tokenizer = made(None, "<|end|>", [])  # without a template
    cfg = {"grpo_trl_args": {"generation_kwargs": {"stop_token_ids": [7]}}}
    assert end_tokens({}, tokenizer, {}) == [tokenizer.eos_token_id]
    assert end_tokens(cfg, tokenizer, {"eos_token_id": 0}) == [0, 7, tokenizer.eos_token_id]


def test_check_reports_a_model_without_any_end_token(made, tmp_path):
    made("{% for m in messages %}{{ m.content }}\n\n{% endfor %}", None, [])
    ((level, line),) = findings(tmp_path)
    assert level == "error"
    assert line == (
        "base_model: neither the model nor its tokenizer has an end token, so no answer ends before the limit. "
        "Set eos_token in special_tokens."
    )


def test_check_warns_of_a_template_whose_end_of_turn_is_no_token_of_the_model(made, tmp_path):
    made(template_of("qwen2_5"), "<eos>", ["<eos>"], more=["<|bos|>"])  # a model that knows no ChatML
    ((level, line),) = findings(tmp_path)
    assert level == "warning"
    assert "it ends an answer with '<|im_end|>', which is no token of the model, so it cannot stop there" in line
    assert not findings(tmp_path, "1 + 1?")  # a text gets no template


def test_check_warns_of_an_end_of_turn_that_the_model_has_no_weights_for(made, tmp_path):
    tokenizer = made(template_of("qwen2_5"), "<eos>", ["<eos>"], more=["<|bos|>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    tokenizer.save_pretrained(tmp_path)
    ((level, line),) = findings(tmp_path)
    assert level == "warning" and "'<|im_end|>', which is no token of the model" in line

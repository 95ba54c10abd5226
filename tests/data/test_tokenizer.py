"""Loading of tokenizers. tests/e2e/test_stats.py compares the counts with transformers."""

import json
import shutil

import httpx
import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants, errors

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import FastTokenizer, TokenizerError, open_tokenizer
from tests.conftest import MODEL

CHAT = [{"role": "user", "content": "1 + 1?"}]
RESPONSE = httpx.Response(403, request=httpx.Request("GET", "https://example.org"))


@pytest.mark.parametrize(
    "error, message",
    [
        (errors.GatedRepoError("no", response=RESPONSE), "the model is gated. Accept its terms at"),
        (errors.RepositoryNotFoundError("no", response=RESPONSE), "the hub has no such model"),
        (errors.LocalEntryNotFoundError("no way\nout"), "cannot be downloaded: no way. Check"),
        (httpx.ConnectError("no name"), "cannot be downloaded: no name. Check the network"),
    ],
)
def test_hub_errors_are_one_line(monkeypatch, error, message):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(TokenizerError) as raised:
        open_tokenizer(Config({"base_model": "some/model"}))
    assert str(raised.value).startswith(f"tokenizer (some/model): {message}")
    assert "\n" not in str(raised.value)


def test_missing_model_raises(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerError, match="HF_HUB_OFFLINE forbids"):
        open_tokenizer(Config({"base_model": "some/model"}))
    with pytest.raises(TokenizerError, match=r"tokenizer \(./no\): no such folder"):
        open_tokenizer(Config({"base_model": "./no"}))


def test_downloads_a_hub_tokenizer_at_its_revision(monkeypatch):
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **how: asked.append((name, how["revision"])) or str(MODEL)
    )
    tokenizer = open_tokenizer(Config({"base_model": "some/model", "revision_of_model": "v2"}))
    assert asked == [("some/model", "v2")]
    assert isinstance(tokenizer, FastTokenizer) and tokenizer.name == "some/model"


@pytest.mark.parametrize(
    "keys, source, text",
    [
        ({}, "the tokenizer's own", None),
        ({"chat_template": "tokenizer_default"}, "the tokenizer's own", None),
        ({"chat_template": "tokenizer_default_fallback_llama3"}, "the tokenizer's own", None),
        ({"chat_template": "chatml"}, "Axolotl's chatml", "<|im_start|>user\n1 + 1?"),
        ({"chat_template_jinja": "{{ messages[0].content }}!"}, "chat_template_jinja", "1 + 1?!"),
        ({"chat_template": "jinja", "chat_template_jinja": "{{ 'x' }}"}, "chat_template_jinja", "x"),
    ],
)
def test_uses_the_template_that_axolotl_chooses(keys, source, text):
    tokenizer = open_tokenizer(Config({"base_model": str(MODEL), **keys}))
    own = open_tokenizer(Config({"base_model": str(MODEL)}))
    assert tokenizer.template_source == source
    assert (text or own.text(CHAT)) in tokenizer.text(CHAT)
    assert (tokenizer.template == own.template) == (text is None)


def test_reads_a_template_file(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages[0].content }}\n{% if add_generation_prompt %}!{% endif %}\n")
    tokenizer = open_tokenizer(Config({"base_model": str(MODEL), "chat_template_jinja": str(file)}))
    assert tokenizer.template_source == str(file)
    assert tokenizer.text(CHAT) == "1 + 1?\n!"
    assert tokenizer.text(CHAT, generation_prompt=False) == "1 + 1?\n"


def test_renders_with_the_options_that_trl_gets():
    cfg = {
        "base_model": str(MODEL),
        "chat_template_jinja": "{{ messages[0].content }}{% if thinks %}<think>{% endif %}",
        "grpo_trl_args": {"chat_template_kwargs": {"thinks": True}},
    }
    assert open_tokenizer(Config(cfg)).text(CHAT) == "1 + 1?<think>"
    assert open_tokenizer(Config({**cfg, "grpo_trl_args": None})).text(CHAT) == "1 + 1?"


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"chat_template_jinja": "no.jinja"}, r"chat_template_jinja \(no.jinja\): no such file"),
        ({"chat_template": "llama9"}, r"chat_template \(llama9\): Template 'llama9' not found"),
        ({"processor_type": "AutoProcessor"}, "prompts of a vision model"),
    ],
)
def test_refuses_missing_templates_and_vision_models(keys, message):
    with pytest.raises(TokenizerError, match=message):
        open_tokenizer(Config({"base_model": str(MODEL), **keys}))


@pytest.mark.parametrize(
    "scaled, limit",
    [
        ("", 512),
        ("rope_scaling: {type: yarn, factor: 4.0}", None),
        ("rope_parameters: {rope_type: linear, factor: 2.0}", None),
        ("rope_parameters: {rope_type: default}", 512),
        ("{rope_parameters: {rope_type: default}, rope_scaling: {type: yarn}}", None),
        ("rope_scaling: {rope_type: llama3, factor: 8.0}", 512),
    ],
)
def test_context_is_the_models_limit_unless_positions_are_scaled(scaled, limit, tmp_path):
    scaled = yaml.safe_load(scaled) or {}
    shutil.copytree(MODEL, tmp_path, dirs_exist_ok=True)
    model = {"model_type": "llama", "max_position_embeddings": 512, **scaled}
    (tmp_path / "config.json").write_text(json.dumps(model))
    assert open_tokenizer(Config({"base_model": str(tmp_path)})).context() == limit

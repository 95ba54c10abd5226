"""A key that is named like a secret is left out of the record of a run; the names of tokens and data are not."""

import pytest

from axolotl_grpo_plugin.training.secrets import is_secret, without_secrets, words_without_secrets


@pytest.mark.parametrize(
    "key",
    """comet_api_key swanlab_api_key swanlab_lark_secret swanlab_lark_webhook_url api_key apikey apiKey APIKey key
    secret client_secret_value hub_token push_to_hub_token HF_TOKEN token access-token mail_password passwd passphrase
    slack_webhook webhook aws_access_key private_key openai_key credentials docker_auth env_secret wandbapikey""".split(),
)
def test_named_like_a_secret(key):
    assert is_secret(key, "sk-SECRET")
    assert not is_secret(key, None) and not is_secret(key, True)


@pytest.mark.parametrize(
    "key, value",
    [
        ("tokenizer_config", "org/model"), ("tokenizer_type", "AutoTokenizer"), ("max_tokens", 512), ("max_token", 512),
        ("special_tokens", {"pad_token": "x"}), ("eot_tokens", ["<|im_end|>"]), ("added_tokens_overrides", {"1": "a"}),
        ("pad_token", "EOS"), ("image_token", "img"), ("fancy_token", "<|fancy|>"), ("token", "[SEP]"),
        ("api_key_env", "OPENAI_API_KEY"), ("password_file", "/run/secrets/x"), ("hf_use_auth_token", True),
        ("template_thinking_key", "reasoning_content"), ("answer_key", "gold"), ("sort_key", "id"), ("num_key", 4),
        ("monkey", "x"), ("keyboard", "x"), ("key_words", "x"), ("monkeypatch", "x"), ("tokens_per_second", 3),
        ("num_key_value_heads", 4), ("secretary_name", "x"), ("pass_rate", 0.5), ("author", "me"),
    ],
)  # fmt: skip
def test_named_otherwise(key, value):
    assert not is_secret(key, value)


def test_secrets_are_found_at_every_depth():
    config = {
        "a": 1,
        "rewards": {"mine.fn": {"api_key": "x", "tags": ["a", {"hub_token": "y", "b": 2}]}},
        "special_tokens": {"odd_token": "ODD"},
    }
    rest = {"a": 1, "rewards": {"mine.fn": {"tags": ["a", {"b": 2}]}}, "special_tokens": {"odd_token": "ODD"}}
    left_out = ["rewards.mine.fn.api_key", "rewards.mine.fn.tags.hub_token"]
    assert without_secrets(config) == (rest, left_out)


def test_words_of_a_command():
    words = "c.yaml --hub-token x --a.b__api_key=y --max-tokens 5 --special_tokens.odd_token ODD --secret".split()
    assert words_without_secrets(words) == "c.yaml --max-tokens 5 --special_tokens.odd_token ODD --secret".split()

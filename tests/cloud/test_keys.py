import time

import pytest

from axolotl_grpo_plugin.cloud.keys import holds_key, is_for_key, is_key, names_key

# Put together here: no scanner is to find keys in this file.
KEYS = {
    "PEM": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE",
    "a service account": '{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMIIE"}',
    "OpenSSH": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "Hugging Face": "hf_" + "AbCdEfGhIj" * 3 + "AbCd",
    "OpenAI": "sk-proj-" + "aB3_-" * 20,
    "Anthropic": "sk-ant-api03-" + "aB3_-" * 19,
    "GitHub": "ghp_" + "a1B2c3" * 6,
    "GitHub, fine-grained": "github_pat_" + "a1B2c3d4e5_" * 7,
    "AWS": "AKIA" + "ABCDEFGH01234567",
    "Google": "AIza" + "a1B2-" * 7,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_are_known_by_their_form(key):
    for text in (key, f'login(token="{key}")', f"A={key}\nB=1"):
        assert holds_key(text) and is_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "HF_TOKEN",
        "hf_transfer",
        "hf_model_with_a_long_name_of_its_own_here",
        "sk-learn is a package",
        "task-" + "a" * 50,
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "0123456789abcdef" * 4,
        "Qwen/Qwen2.5-0.5B-Instruct",
        "git+ssh://git@github.com/me/mine",
        "git+https://github.com/me/mine@main",
        "http://localhost:8000/v1",
        "https://example.com/a@b",
    ],
)
def test_what_is_no_key(text):
    assert not holds_key(text) and not is_key(text)


@pytest.mark.parametrize(
    "text",
    ["git+https://me:pw@github.com/me/x", "https://abc@host/simple", "postgres://me:pw@host/db"],
)
def test_a_login_in_an_address_is_one_in_a_setting_and_in_a_file_it_may_be_an_example(text):
    assert is_key(text) and not holds_key(text)


@pytest.mark.parametrize(
    "name",
    """
    token my_token .hf_token HF_TOKEN.txt token.json secret.yaml .vault-secrets passwords.txt .passwd
    credentials creds.json openai_api_key apikey.txt api-keys.toml
    """.split(),
)
def test_names_of_files_with_keys(name):
    assert names_key(name)


@pytest.mark.parametrize(
    "name",
    """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json tokens.txt token.py
    secrets.py answer_key.json keys.jsonl monkey.txt passwords.jsonl credentials.md
    """.split(),
)
def test_names_of_other_files(name):
    assert not names_key(name)


@pytest.mark.parametrize("option", ["comet_api_key", "hub_token", "hf_token", "db_password"])
def test_options_for_keys(option):
    assert is_for_key(option)


@pytest.mark.parametrize(
    "option",
    ["api_key_env", "pad_token", "comet_experiment_key", "hf_use_auth_token", "eot_tokens", "key"],
)
def test_options_for_something_else(option):
    assert not is_for_key(option)


@pytest.mark.parametrize("again", ["-----BEGIN ", "://", "://a:", "sk-a ", "a" * 9, "-"])
def test_a_long_text_is_no_longer_work(again):
    before = time.process_time()
    assert not is_key(again * 100_000)
    assert time.process_time() - before < 5

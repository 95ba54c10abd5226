"""Keys and passwords where none should be: in a file that is sent, a config, an image's packages.

By the name of what holds them, or by the form that their issuers give them: private keys (PEM, RFC 7468),
Hugging Face, OpenAI and Anthropic, GitHub, AWS, Google; and by a login in an address.
"""

import re

# `special_tokens_map.json` and `tokenizer.json` are none.
_FILES = re.compile(
    r".*(token|secrets?|passwords?|passwd|credentials?|creds|api[-_]?keys?)"
    r"(\.(txt|json|ya?ml|toml|ini|cfg|conf))?"
)
_OPTIONS = re.compile(
    r".*((api|access|secret|private)_?key|(hf|hub|access|api)_token|password|secret)"
)
_ISSUED = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bhf_[A-Za-z0-9]{34}\b|\bsk-[A-Za-z0-9_-]{40}|"
    r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{40}|\bAKIA[A-Z0-9]{16}\b|\bAIza[\w-]{35}"
)
_LOGIN = re.compile(r"://[^/\s@:]+:[^/\s@]+@|https?://[^/\s@]+@")


def names_key(file: str) -> bool:
    """Whether a file's name says that a key or a password is in it.

    >>> names_key("hf_token.txt"), names_key("tokenizer.json")
    (True, False)
    """
    return _FILES.fullmatch(file.lower()) is not None


def is_for_key(option: str) -> bool:
    """Whether a config's key is one for a key or a password: comet_api_key, and not api_key_env."""
    return _OPTIONS.fullmatch(option.lower()) is not None


def holds_key(text: str) -> bool:
    """Whether there is a key in it, of a form that cannot be anything else."""
    return _ISSUED.search(text) is not None


def is_key(value: str) -> bool:
    """Whether a setting's value has a key or a login in it: git+https://TOKEN@github.com/me/mine."""
    return holds_key(value) or _LOGIN.search(value) is not None

"""Leave secrets out of the record of a run, by the names of their keys.

`run.yaml` and the command are in the output folder, and the command is in the card, which the hub shows.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

# A key that has one of these is a secret, written as one word or as several: api_key, apikey, apiKey.
_SECRET = re.compile(
    "apikey|accesskey|privatekey|secret|passw(or)?d|passphrase|webhook|credential|bearer"
)
# The last word of a key that says where a secret is, not the secret itself.
_PLACES = {"env", "var", "variable", "file", "path", "name", "column", "field"}
# Words before `token` for a text of the tokenizer, and before `key` for a name in the data.
_TOKENIZER = {
    *("pad", "eos", "bos", "unk", "sep", "cls", "mask", "eot", "eod", "eom", "additional", "new"),
    *("image", "video", "audio", "vision", "start", "end", "begin", "stop", "think", "special"),
    *("prompt", "completion", "answer", "system", "user", "assistant", "tool", "first", "last"),
}
_DATA = {
    *(
        "answer",
        "question",
        "prompt",
        "completion",
        "solution",
        "gold",
        "target",
        "chosen",
        "rejected",
    ),
    *("column", "row", "field", "label", "text", "message", "messages", "role", "content", "value"),
    *(
        "sort",
        "group",
        "primary",
        "foreign",
        "index",
        "id",
        "map",
        "dict",
        "json",
        "cache",
        "public",
    ),
    *(
        "data",
        "dataset",
        "input",
        "output",
        "source",
        "image",
        "images",
        "video",
        "audio",
        "system",
    ),
    *(
        "metric",
        "reward",
        "score",
        "fn",
        "feature",
        "sample",
        "name",
        "kwargs",
        "thinking",
        "reasoning",
    ),
}
_SPECIAL = re.compile(r"[<>\[\]|\s]")  # no token of a service has these
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

LEFT_OUT = (
    "# Left out, because they are named like secrets: {keys}. Set them again to repeat the run.\n"
)


def without_secrets(config: Any, above: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """Return a config without its secrets, and the keys that are left out.

    Args:
        config: Plain dictionaries, lists, texts, numbers and None.
        above: The keys that lead to it.

    Returns:
        The rest of the config, and keys such as "grpo_reward_args.mine.fn.api_key".
    """
    if isinstance(config, list):
        entries = [without_secrets(entry, above) for entry in config]
        return [entry for entry, _ in entries], [key for _, keys in entries for key in keys]
    if not isinstance(config, dict):
        return config, []
    kept, left_out = {}, []
    for key, value in config.items():
        name = str(key)
        if is_secret(name, value, above):
            left_out.append(".".join((*above, name)))
        else:
            kept[key], keys = without_secrets(value, (*above, name))
            left_out += keys
    return kept, left_out


def words_without_secrets(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without options that are secrets, and without their values."""
    kept = []
    is_value = False  # of an option that is left out
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        *above, key = re.split(r"\.|__", name.lstrip("-").replace("-", "_"))
        if is_value:
            is_value = False
        elif word.startswith("--") and is_secret(key, value if equals else following, tuple(above)):
            is_value = not equals
        else:
            kept.append(word)
    return kept


def is_secret(key: str, value: Any, above: tuple[str, ...] = ()) -> bool:
    """Return whether a value is a secret by the name of its key.

    Args:
        key: The key.
        value: Its value. None and bool are no secrets.
        above: The keys that lead to it.

    >>> is_secret("hub_token", "hf_x"), is_secret("pad_token", "<pad>"), is_secret("max_tokens", 512)
    (True, False, False)
    """
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or isinstance(value, bool) or value in (None, "") or words[-1] in _PLACES:
        return False
    if _SECRET.search("".join(words)):
        return True
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        return False
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last in ("token", "auth"):
        is_special = before in _TOKENIZER or any(map(_SPECIAL.search, texts))
        return not is_special and "special_tokens" not in above
    return last in ("key", "keys") and before not in _DATA

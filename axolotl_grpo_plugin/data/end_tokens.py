"""Find the tokens that end an answer. Training, generation and `check` use the same ones."""

from collections.abc import Mapping
from os.path import commonprefix
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.tokenizer import folder_of, read_json

_QUESTION = {"role": "user", "content": "2+2?"}
_ANSWER = "\N{WHITE QUESTION MARK ORNAMENT}"
_CHAT = [_QUESTION, {"role": "assistant", "content": _ANSWER}]

STOP = ("stop", "stop_strings")  # the names of vLLM, and of transformers


def end_tokens(cfg: Config, tokenizer: Any, model: Mapping[str, Any]) -> list[int]:
    """Return the ids of all tokens that end an answer, sorted. A config can add its own as stop_token_ids.

    tokenizer: of transformers. model: its generation config, in which eos_token_id is an id, a list, or None.
    """
    ends = {turn_end(tokenizer), tokenizer.eos_token_id}
    added = cfg.grpo_trl_args.generation_kwargs.get("stop_token_ids")
    for ids in (model.get("eos_token_id"), added):
        ends.update(ids if isinstance(ids, list) else [ids])
    return sorted(ends - {None})


def model_config(cfg: Config) -> dict[str, Any]:
    """Return the keys of config.json and generation_config.json of a config's model. The latter come first.

    Raises: TokenizerError if the hub does not have these files, or cannot be reached.
    """
    folder = folder_of(cfg.changed(tokenizer_config=None))
    return {**read_json(folder / "config.json"), **read_json(folder / "generation_config.json")}


def turn_end(tokenizer: Any) -> int | None:
    """Return the token with which the chat template ends an answer, None if it is no added token."""
    for token in reversed(after_answer(tokenizer)):
        if token in tokenizer.get_added_vocab().values():
            return token
    return None


def after_answer(tokenizer: Any) -> list[int]:
    """Return the tokens that the template writes after an answer, both at the end and before a question.

    At the end alone, Phi-3.5's template adds a second token, and GPT-OSS's another one.
    """
    try:
        chats = tokenizer.apply_chat_template([_CHAT, [*_CHAT, _QUESTION]], tokenize=False)
    except Exception:  # no template, or one that refuses such a chat
        return []
    ends = [chat.partition(_ANSWER)[2] for chat in chats]
    # The linter takes these lists of tokens for paths.
    return list(commonprefix(tokenizer(text=ends, add_special_tokens=False).input_ids))  # noqa: RUF071


def stop_texts(cfg: Config) -> list[str]:
    """Return the texts that end a completion of a training: of `generation_kwargs` in `grpo_trl_args`."""
    texts: list[str] = []
    for name in STOP:
        value = cfg.grpo_trl_args.generation_kwargs.get(name) or []
        texts += [value] if isinstance(value, str) else value
    return texts

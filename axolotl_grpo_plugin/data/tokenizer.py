"""Render and count prompts as the trainer does.

`FastTokenizer` needs only `tokenizers` and `jinja2`, because the import of transformers takes far longer than the
count (benchmarks/results/lengths.md).
`FastTokenizer` serves the tokenizer classes and templates that tests/e2e/test_stats.py compares with
transformers. Axolotl's own loader serves all others.
"""

import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.inputs import check_model
from axolotl_grpo_plugin.findings import Finding, FindingError, error_line, first_line

Chat = list[Any]  # messages
Prompt = str | Chat
Texts = Sequence[str]
Ids = list[list[int]]

# transformers takes these classes from tokenizer.json unchanged, but rebuilds Qwen2's.
CLASSES = ("PreTrainedTokenizer", "TokenizersBackend", "Qwen2Tokenizer")
# For other models, transformers may ignore the class that the files name.
MODELS = ("llama", "qwen2", "qwen3", "qwen3_moe", "smollm3", "granite", "olmo2")
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMED = {*"bos_token eos_token unk_token sep_token pad_token cls_token mask_token".split()}
# Keys with which Axolotl changes a loaded tokenizer.
CHANGES = (
    "added_tokens_overrides default_system_message special_tokens tokenizer_legacy tokenizer_type "
    "tokenizer_use_mistral_common tokens trust_remote_code"
).split()
# Settings with which transformers changes the contents of tokenizer.json.
SETTINGS = (
    "add_bos_token add_eos_token add_prefix_space auto_map fast_tokenizer_files split_special_tokens"
).split()
SCALED = ("linear", "dynamic", "yarn")
FILES = [
    "*.jinja",
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer*",
]


class TokenizerError(FindingError):
    """The tokenizer cannot be loaded, or cannot count."""


class Tokenizer(ABC):
    """Counts a config's prompts.

    name: the config's name for it. folder: holds its files.
    template: the chat template, or None. template_source: the template's origin. how: the libraries
    that count. tools: descriptions of the tools that a chat shows, or None.
    """

    name: str
    folder: Path
    template: str | None
    template_source: str
    how: str
    tools: list[dict[str, Any]] | None = None

    @abstractmethod
    def text(self, chat: Chat, generation_prompt: bool = True) -> str:
        """Render a chat as the model sees it."""

    @abstractmethod
    def ids(self, texts: Texts, special: bool = False) -> Ids:
        """Return each text's token ids. special: with the special tokens that the tokenizer adds."""

    @abstractmethod
    def visible(self, text: str) -> str:
        """Return a text as TRL decodes it for rewards: without special tokens."""

    @property
    @abstractmethod
    def bos(self) -> int | None:
        """The id of the token that begins a text, None if the tokenizer names none."""

    def seen(self, prompt: Prompt) -> str:
        """Return a prompt as the model sees it: rendered, or a text with the tokens that TRL adds."""
        if not isinstance(prompt, str):
            return self.text(prompt)
        (ids,) = self.ids([prompt], special=True)
        (plain,) = self.ids([prompt])
        has_bos = ids[:1] == [self.bos] and ids[1:] == plain
        return f"{self.bos_text}{prompt}" if has_bos else prompt

    @property
    @abstractmethod
    def bos_text(self) -> str:
        """The token that begins a text, "" if the tokenizer names none."""

    def counts(self, texts: Texts, special: bool = False) -> list[int]:
        """Return each text's number of tokens."""
        return [len(ids) for ids in self.ids(texts, special)]

    def prompts(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return each prompt's number of tokens. Chats are rendered, plain strings are not."""
        lengths = []
        for kind, run in groupby(prompts, type):
            texts: list[Any] = [*run]
            if kind is not str:
                texts = [self.text(text) for text in texts]
            lengths += self.counts(texts, special=kind is str)
        return lengths

    def context(self) -> int | None:
        """Return the model's max_position_embeddings in tokens.

        Return None if it is unknown, or if positions are scaled: the number may then be the one
        before or after scaling.
        """
        config = read_json(self.folder / "config.json")
        for rope in (config.get("rope_parameters") or {}, config.get("rope_scaling") or {}):
            if rope.get("rope_type", rope.get("type")) in SCALED:
                return None
        limit = config.get("max_position_embeddings")
        return limit if isinstance(limit, int) else None


class FastTokenizer(Tokenizer):
    """Reads tokenizer.json and the template without transformers."""

    how = "tokenizers, jinja2"

    def __init__(self, cfg: Config, folder: Path):
        from tokenizers import Tokenizer as Backend

        self.name, self.folder = name_of(cfg), folder
        self._options = dict(cfg.grpo_trl_args.chat_template_kwargs)
        self._settings = read_json(folder / "tokenizer_config.json")
        self._backend = Backend.from_file(str(folder / "tokenizer.json"))
        self._backend.no_truncation()
        self._backend.no_padding()
        self._named = {}
        for key in NAMED & self._settings.keys():
            if self._settings[key] is not None:
                self._named[key] = _text_of(self._settings[key])
        own = self._settings.get("chat_template")
        file = folder / "chat_template.jinja"
        if file.is_file():
            own = file.read_text(encoding="utf-8")
        self.template, self.template_source = template_of(cfg, own)
        self._compiled = None
        if isinstance(self.template, str):
            self._compiled = _compiled(self.template, self._named)

    @classmethod
    def of(cls, cfg: Config, folder: Path) -> "FastTokenizer | None":
        """Open a folder. Return None if transformers or Axolotl would change the files' tokenizer."""
        settings = read_json(folder / "tokenizer_config.json")
        model = read_json(folder / "config.json")
        model_type = model.get("model_type")
        named = settings.get("tokenizer_class") or ""
        known_class = named.removesuffix("Fast") in CLASSES or not (named or model)
        known_model = model_type in (None, *MODELS)
        changed = any(settings.get(key) for key in SETTINGS) or any(map(cfg.value_at, CHANGES))
        more = (folder / "additional_chat_templates").exists()
        has_file = (folder / "tokenizer.json").is_file()
        if changed or more or not (has_file and known_class and known_model):
            return None
        tokenizer = cls(cfg, folder)
        can_render = tokenizer.template is None or tokenizer._compiled is not None
        is_rebuilt = "Qwen2" in named or model_type == "qwen2"  # by transformers
        if not can_render or not tokenizer._has_all_tokens():
            return None
        return None if is_rebuilt and not tokenizer._is_qwen2s() else tokenizer

    def _has_all_tokens(self) -> bool:
        """Return whether transformers would neither add nor change a token."""
        from tokenizers import AddedToken

        saved = self._settings.get("added_tokens_decoder") or {}
        # Without the former, transformers reads this file of older versions.
        if not saved and (self.folder / "special_tokens_map.json").exists():
            return False
        tokens = [*self._backend.get_added_tokens_decoder().values()]
        for token in saved.values():
            if AddedToken(**token) not in tokens:
                return False
        named = {*self._named.values()}
        for key in ("additional_special_tokens", "extra_special_tokens"):
            named.update(map(_text_of, self._settings.get(key) or ()))
        return named <= {token.content for token in tokens}

    def _is_qwen2s(self) -> bool:
        """Return whether tokenizer.json splits texts as transformers' Qwen2Tokenizer does."""
        from tokenizers import Regex
        from tokenizers.normalizers import NFC
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        words = Split(Regex(QWEN2_WORDS), "isolated")
        own = self._backend.pre_tokenizer
        if not isinstance(self._backend.normalizer, NFC) or not isinstance(own, Sequence):
            return False
        unlike = ("dropout", "byte_fallback", "ignore_merges", "fuse_unk")
        bpe = self._backend.model
        if any(getattr(bpe, key, True) for key in unlike):
            return False
        # It is in the files of some versions, and changes no token.
        for trim in (True, False):
            pieces = ByteLevel(add_prefix_space=False, trim_offsets=trim, use_regex=False)
            if Sequence([words, pieces]).__getstate__() == own.__getstate__():
                return True
        return False

    def text(self, chat: Chat, generation_prompt: bool = True) -> str:
        if self._compiled is None:
            raise no_template(self.name)
        rendered: str = self._compiled.render(
            messages=chat,
            tools=self.tools,
            documents=None,
            add_generation_prompt=generation_prompt,
            **self._named | self._options,
        )
        return rendered

    def ids(self, texts: Texts, special: bool = False) -> Ids:
        encoded = self._backend.encode_batch_fast(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encoded]

    def visible(self, text: str) -> str:
        (ids,) = self.ids([text])
        return str(self._backend.decode(ids, skip_special_tokens=True))

    @property
    def bos_text(self) -> str:
        return self._named.get("bos_token", "")

    @property
    def bos(self) -> int | None:
        number: int | None = self._backend.token_to_id(self.bos_text)
        return number


class AxolotlTokenizer(Tokenizer):
    """The tokenizer that Axolotl loads, by transformers."""

    how = "transformers"

    def __init__(self, cfg: Config, folder: Path):
        from axolotl.loaders import load_tokenizer
        from axolotl.utils.dict import DictDefault

        self.name, self.folder = name_of(cfg), folder
        self._options = dict(cfg.grpo_trl_args.chat_template_kwargs)
        model = cfg.base_model_config or cfg.base_model
        # By its name, because transformers may need files of the hub that the folder lacks.
        with_names = DictDefault(
            {**cfg.raw, "base_model_config": model, "tokenizer_config": self.name}
        )
        jinja = cfg.chat_template_jinja
        if jinja and not cfg.chat_template:
            with_names.chat_template = "jinja"  # as Axolotl's validation does
        self.real = load_tokenizer(with_names)
        self.template = self.real.chat_template
        self.template_source = template_of(cfg, self.template)[1]
        key = "chat_template_jinja" if jinja else f"chat template of {self.name}"
        self._where = cfg.at(key)

    def text(self, chat: Chat, generation_prompt: bool = True) -> str:
        from jinja2 import TemplateSyntaxError

        if self.template is None:
            raise no_template(self.name)
        try:
            text: str = self.real.apply_chat_template(
                list(chat),
                tools=self.tools,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **self._options,
            )
        except TemplateSyntaxError as error:  # one finding, and not one per row
            raise TokenizerError(
                Finding(
                    self._where, f"not a Jinja template: {first_line(error)}", "Fix the template"
                )
            ) from error
        return text

    def ids(self, texts: Texts, special: bool = False) -> Ids:
        if not texts:
            return []
        encoded = self.real(text=list(texts), add_special_tokens=special)
        return list(encoded["input_ids"])

    def visible(self, text: str) -> str:
        (ids,) = self.ids([text])
        return str(self.real.decode(ids, skip_special_tokens=True))

    @property
    def bos_text(self) -> str:
        return self.real.bos_token or ""

    @property
    def bos(self) -> int | None:
        number: int | None = self.real.bos_token_id
        return number


class LazyTokenizer:
    """The tokenizer that Axolotl loads for a raw config, loaded at its first use.

    Transforms get it, and most never use it.
    """

    def __init__(self, cfg: Config):
        self._load = cache(lambda: AxolotlTokenizer(cfg, open_tokenizer(cfg).folder).real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self._load()(*args, **more)


def open_tokenizer(cfg: Config) -> Tokenizer:
    """Open the tokenizer of a raw config, with its chat template. Raises TokenizerError."""
    if cfg.processor_type:
        raise _error(
            cfg,
            "prompts of a vision model (processor_type) cannot be counted",
            "Count a config without images",
        )
    try:
        folder = folder_of(cfg)
        return FastTokenizer.of(cfg, folder) or AxolotlTokenizer(cfg, folder)
    except TokenizerError:
        raise
    except Exception as error:  # the files may be broken in any way
        raise _error(
            cfg, f"the tokenizer cannot be loaded: {error_line(error)}", "Check its files"
        ) from error


def name_of(cfg: Config) -> str:
    """Return the folder or hub name of a raw config's tokenizer, "" if it names none."""
    return cfg.tokenizer_config or cfg.base_model_config or cfg.base_model or ""


def template_of(cfg: Config, own: str | None) -> tuple[str | None, str]:
    """Return a config's chat template and its origin. own: the tokenizer's template, or None."""
    from axolotl.utils.chat_templates.base import get_chat_template

    choice, jinja = cfg.chat_template, cfg.chat_template_jinja
    if not choice and not jinja:
        return own, "the tokenizer's own"
    choice = choice or "jinja"
    try:
        made = get_chat_template(choice, jinja, SimpleNamespace(chat_template=own))
    except ValueError as error:
        raise _error(
            cfg, f"chat_template ({choice}): {error}", "Name one of Axolotl's templates"
        ) from error
    if choice == "jinja":
        if os.path.isfile(str(jinja)):
            return made, str(jinja)
        if "{" in str(made):
            return made, "chat_template_jinja"
        # Axolotl would use the path itself as the template, and every prompt would be the same.
        raise _error(
            cfg,
            f"chat_template_jinja ({jinja}): no such file",
            f"Paths count from the working folder, {os.getcwd()}",
        )
    return made, "the tokenizer's own" if made == own else f"Axolotl's {choice}"


def lacks_template(cfg: Config) -> Finding | None:
    """Return the finding if a config and its tokenizer have no chat template."""
    if cfg.chat_template not in (None, "tokenizer_default") or cfg.processor_type:
        return None
    return None if open_tokenizer(cfg).template else no_template(name_of(cfg)).finding


def no_template(name: str) -> TokenizerError:
    return TokenizerError(
        Finding(
            name,
            "the tokenizer has no chat template",
            "Set `chat_template:` (tokenizer_default_fallback_chatml, qwen_25, ...), or name an instruct model",
        )
    )


def folder_of(cfg: Config, files: Sequence[str] = FILES) -> Path:
    """Return the folder with the tokenizer's files. A hub name is downloaded. files: patterns of names."""
    name = name_of(cfg)
    if os.path.isdir(name):
        return Path(name)
    for finding in check_model(cfg.changed(base_model=name)):
        raise _error(cfg, finding.what, finding.fix, finding.code)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    revision = cfg.revision_of_model
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*files]))
    except Exception as error:  # the hub's client, or the network
        what = f"cannot be downloaded: {first_line(error)}"
        fix = "Check the network, or name a folder"
        if isinstance(error, GatedRepoError):
            what = "the model is gated"
            fix = f"Accept its terms at https://huggingface.co/{name}, and log in with `hf auth login`"
        elif isinstance(error, RepositoryNotFoundError):
            what = "the hub has no such model"
            fix = "Check the name. For a private model, log in with `hf auth login`"
        raise _error(cfg, what, fix) from error


def _error(cfg: Config, what: str, fix: str, code: str = "") -> TokenizerError:
    return TokenizerError(Finding(cfg.at(f"tokenizer ({name_of(cfg)})"), what, fix, code=code))


def _compiled(template: str, named: Mapping[str, str]) -> Any:
    """Compile the template. Return None if only transformers can render it. named: special tokens."""
    from jinja2 import TemplateError, TemplateSyntaxError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: object, **how: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **how})

    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    jinja.filters["tojson"] = tojson
    jinja.globals["raise_exception"] = raise_exception
    jinja.globals["strftime_now"] = lambda how: datetime.now().strftime(how)
    try:
        wanted = meta.find_undeclared_variables(jinja.parse(template))
    except TemplateSyntaxError:
        return None
    if any(name.endswith("_token") and name not in named for name in wanted):
        return None  # the tokenizer class may have a default for it
    return jinja.from_string(template)


def read_json(file: Path) -> Any:
    if not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8"))


def _text_of(token: object) -> str:
    """Return a token's text. In the files, a token is a string or an object with properties."""
    return str(token["content"]) if isinstance(token, dict) else str(token)

"""Tiny models with the chat templates of public model families."""

import json
import shutil
from pathlib import Path

from tests.conftest import MODEL

TEMPLATES = Path(__file__).parent / "templates"
FAMILIES = [file.stem for file in sorted(TEMPLATES.glob("*.jinja")) if file.stem not in ("unknown", "no_system")]
BOS = ["llama3", "mistral", "magistral", "gemma3", "command_a"]  # their tokenizers begin a text with BOS


def tiny_model(root, family, adds_bos=None, special=()):
    """Make the quickstart's model with the template of a family. Return its folder.

    adds_bos: whether the tokenizer begins a text with BOS, None as the family does. special: more special tokens.
    """
    folder = root / f"{family}-{adds_bos}-{'-'.join(map(str, map(len, special)))}"
    if folder.exists():
        return str(folder)
    shutil.copytree(MODEL, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = (TEMPLATES / f"{family}.jinja").read_text()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    settings.setdefault("bos_token", "<|im_start|>")
    if adds_bos or (adds_bos is None and family in BOS):
        bos = tokenizer["added_tokens"][0]
        settings["bos_token"] = bos["content"]
        begin = {"SpecialToken": {"id": bos["content"], "type_id": 0}}
        first, second = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [begin, first],
            "pair": [begin, first, second],
            "special_tokens": {bos["content"]: {"id": bos["content"], "ids": [bos["id"]], "tokens": [bos["content"]]}},
        }
    for word in special:
        number = 1 + max(token["id"] for token in tokenizer["added_tokens"])
        number = max(number, len(tokenizer["model"]["vocab"]) + 1)
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        tokenizer["added_tokens"].append({"id": number, "content": word, "special": True, **flags})
    settings.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return str(folder)

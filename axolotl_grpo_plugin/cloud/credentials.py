"""Recognize files that look like credentials, by their names. No file is opened."""

import re
from pathlib import Path, PurePosixPath

from modal import FilePatternMatcher

# Files that hold nothing else, such as .env and id_rsa. Case is ignored.
_KNOWN = FilePatternMatcher.from_file(Path(__file__).with_name("held.txt"))
# A word of a name: accessKeys.csv has access, Keys and csv.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = re.compile(
    r"\w*keys?|(db)?pass|"
    r"\w*(token|secret|password|passwd|passphrase|credential)s?|"
    r"creds?|[rd]sa|ecdsa|env|o?auth|jwt|pat|bearer|login|vault|cookies?"
)
# A service's name alone, as in openai.txt and wandb_api.txt. Prompts of a model may have its maker's name.
_SERVICE = re.compile(
    r"(my)?((openai|anthropic|huggingface|hf|wandb|github|gitlab|gcp|aws|azure|groq|openrouter|kaggle)(api)?|"
    r"(gemini|mistral|deepseek|cohere|together)api)(txt)?"
)
_SECRET_FOLDER = re.compile(r"\w*(secret|password|credential)s?|creds?|keys")
# A model's own files, and a dataset's answers.
_HARMLESS = re.compile(
    r"(special|added)_tokens|answer_?keys?|(max|num)_tokens|token_counts?|(primary|value)_keys?|"
    r"(mon|tur|don|hoc|joc|whis|hot)keys?",
    re.IGNORECASE,
)
# Source code, datasets and weights. A key is in none of them because of its name.
_CONTENTS = frozenset(
    ".py .pyi .ipynb .js .mjs .cjs .jsx .ts .tsx .c .cc .h .hpp .cpp .cu .cuh .rs .go .java .jinja .html .css "
    ".sql .proto .php .rb .lua .jl .kt .swift .scala .cs .r .m .jsonl .parquet .arrow .feather .safetensors .bin "
    ".pt .pth .gguf .onnx .h5 .hdf5 .npy .npz .pkl .msgpack .model .tsv .png .gz .zst".split()
)


def looks_like_credentials(path: str) -> bool:
    """Return whether a file has the name of credentials, or is in a folder of credentials."""
    if _KNOWN(Path(path.lower())):
        return True
    file = PurePosixPath(path)
    if file.suffix.lower() in _CONTENTS:
        return False
    letters = "".join(_WORD.findall(file.name)).lower()
    if _has(_SECRET, file.name) or _SERVICE.fullmatch(letters):
        return True
    return any(_has(_SECRET_FOLDER, folder) for folder in file.parts[:-1])


def _has(pattern: re.Pattern[str], name: str) -> bool:
    words = _WORD.findall(_HARMLESS.sub("", name))
    return any(pattern.fullmatch(word.lower()) for word in words)

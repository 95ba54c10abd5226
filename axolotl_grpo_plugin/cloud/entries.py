"""What may stand in the lists of cloud.yaml: secrets, variables, Volumes. No message repeats a secret."""

import os
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from axolotl_grpo_plugin.cloud.keys import is_key
from axolotl_grpo_plugin.cloud.remote import PARCEL, WORK

OPTIONAL = ("HF_TOKEN", "WANDB_API_KEY")  # only some trainings need them
# Modal starts no container with a Volume over files of the image.
OF_THE_IMAGE = "bin boot dev etc lib lib64 opt proc run sbin sys usr var".split()


def _wrong(what: str, fix: str, shown: str = "") -> PydanticCustomError:
    """What a validator raises. shown: beside the key, in place of the value."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "fix": fix, "shown": shown})


def is_name(text: object) -> bool:
    """Whether it is a variable's name; in capitals, as no token is that was pasted in its place."""
    return isinstance(text, str) and re.fullmatch("[A-Z_][A-Z0-9_]*", text) is not None


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is a secret.

    >>> is_secret("OPENAI_API_KEY"), is_secret("TOKENIZERS_PARALLELISM"), is_secret("MAX_TOKENS")
    (True, False, False)
    """
    secret = re.compile(r"(TOKEN|(KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?)\d*$")
    return any(secret.search(word) for word in name.upper().split("_"))


class Stored(NamedTuple):
    """A Secret that is stored on Modal, by its name there."""

    name: str


def secret(entry: Any) -> str | Stored:
    """One entry of `secrets`. No message repeats what stands there: it may be the secret itself."""
    if isinstance(entry, dict):
        if list(entry) == ["modal"]:
            return Stored(_object_name(entry["modal"], "Secret"))
        shown = ", ".join(name for name in entry if is_name(name))
        fix = "Write the name alone, and set it in your environment: export NAME=…"
        raise _wrong("a value in a file that is sent", fix, shown)
    if not is_name(entry):
        fix = "Write NAME, a variable of your environment in capitals, or modal: NAME"
        raise _wrong("neither a variable's name nor a Secret's", fix)
    if not os.environ.get(entry) and entry not in OPTIONAL:
        raise _wrong("not set in your environment", f"`export {entry}=…`, or remove it", entry)
    return str(entry)


def by_name(env: Any) -> dict[str, tuple[Any, Any]]:
    """`env` by the variables' names: of a mapping, or of Axolotl's list of names and mappings."""
    entries = [env] if isinstance(env, dict) else env
    if not isinstance(entries, list):
        raise _wrong("not a mapping", "Write NAME: value, a line each")
    pairs = [
        pair
        for entry in entries
        for pair in (entry.items() if isinstance(entry, dict) else [(entry, None)])
    ]
    return {str(name): (name, value) for name, value in pairs}


def variable(pair: tuple[Any, Any]) -> str:
    """The value of a variable of `env`: where there is none, the one of the user's environment."""
    name, value = pair
    if not is_name(name):
        raise _wrong("not a variable's name in capitals", "Write NAME: value")
    if is_secret(name):
        fix = f"Write the name alone, under secrets, and `export {name}=…`"
        raise _wrong("a secret by its name, and this file is sent", fix)
    if value is None:
        value = os.environ.get(name)
        if value is None:
            raise _wrong("not set in your environment", f"`export {name}=…`, or give it here")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _wrong("not a string", f'Put it in quotes: {name}: "…"')
    if pair[1] is not None and is_key(str(value)):
        fix = f"Write the name alone, under secrets, and `export {name}=…`"
        raise _wrong("a secret by its value, and this file is sent", fix)
    return str(value)


def requirement(text: str) -> str:
    """An entry of `pip_install`. Its words stay in the image, and in what Modal shows of it."""
    if is_key(text):
        fix = "Put the package into the working folder instead"
        raise _wrong("a key or a password in it would stay in the image", fix)
    return text


def _object_name(name: Any, what: str) -> str:
    from modal._utils.name_utils import is_valid_object_name

    if not isinstance(name, str) or not is_valid_object_name(name):
        fix = "At most 64 letters, digits, dashes, dots and underscores"
        raise _wrong(f"not a name that a {what} of Modal's can have", fix)
    return name


def _mount(typed: str) -> str:
    """A mount point, absolute; a relative one is below the run's folder."""
    path = PurePosixPath(WORK.as_posix()) / typed
    if typed.startswith("~") or "\\" in typed or ".." in path.parts or "//" in typed:
        raise _wrong("not a plain path", "Write it with single /, without .., ~ and \\")
    if path.as_posix() == WORK.as_posix() or path.is_relative_to(PARCEL.as_posix()):
        raise _wrong("where the working folder's files lie", "Name a folder below, as ./outputs")
    if len(path.parts) < 2 or str(path) in ("/root", "/tmp") or path.parts[1] in OF_THE_IMAGE:
        raise _wrong("the image has files there", "Name a new folder, as /cache")
    return str(path)


class Volume(BaseModel):
    """A Volume of Modal's and where it is mounted; it is created where there is none."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    name: Annotated[str, AfterValidator(lambda name: _object_name(name, "Volume"))]
    mount: Annotated[str, AfterValidator(_mount)]


def apart(volumes: list[Volume]) -> list[Volume]:
    """Each Volume is mounted once, and none in another."""
    for number, one in enumerate(volumes):
        for other in volumes[:number]:
            if one.name == other.name:
                raise _wrong("mounted twice", "Mount each Volume once", one.name)
            here, there = PurePosixPath(one.mount), PurePosixPath(other.mount)
            if here.is_relative_to(there) or there.is_relative_to(here):
                fix = "Mount them in folders of their own"
                raise _wrong("one lies in the other", fix, f"{one.mount}, {other.mount}")
    return volumes

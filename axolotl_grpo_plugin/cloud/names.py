"""What stays here when the working folder is sent: by its name, by what it is, or by a pattern."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase, translate
from functools import cache
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.cloud.remote import WORK
from axolotl_grpo_plugin.findings import Finding, first_line, stop_on

# Names, at any depth and in any case, that hold passwords and keys. `ignore` brings none of them back.
SECRET_FILES = tuple(
    """
    .env* *.env *.pem *.key *.p12 *.pfx *.ppk *.jks *.keystore *.kdbx id_rsa* id_dsa*
    id_ecdsa* id_ed25519* .netrc _netrc .modal.toml .npmrc .pypirc .pgpass .git-credentials .boto
    .s3cfg .vault-token .databrickscfg .my.cnf .htpasswd .dockercfg .dockerconfigjson pip.conf
    kubeconfig *.tfstate *.tfstate.* *.tfvars *.gpg client_secret*.json service[-_]account*.json
    kaggle.json token stored_tokens credentials.json secrets.json secrets.toml secrets.yaml secrets.yml
    .*_history
    """.split()
)
SECRET_FOLDERS = tuple(
    """.aws .azure .docker .gcloud .gnupg .huggingface .kaggle .kube .oci .password-store .secret .secrets
    .ssh""".split()
)
# What tools make, and make again where it is missing.
MADE_FILES = ("*.pyc", ".ds_store", ".git")
MADE_FOLDERS = tuple(
    """
    .git .hg .svn .jj __pycache__ site-packages node_modules .venv .tox .nox .mypy_cache
    .pytest_cache .ruff_cache .hypothesis .ipynb_checkpoints .direnv .pixi .terraform
    """.split()
)
# Patterns as in a .dockerignore. Those of `ignore` come after them, and may bring them back.
USUAL = tuple(
    """
    build dist **/*.egg-info **/.cache outputs model-out last_run_prepared wandb trackio mlruns
    **/secrets
    """.split()
)


class Left(NamedTuple):
    """Why something stays here, and what to do about it."""

    why: str
    fix: str


LINKED = Left("Modal sends no linked folder", "Copy the folder in place of the link")


class Names:
    """What stays here of the working folder. ConfigError names a pattern that is none.

    ignore: cloud.yaml's patterns. mounts: mount point -> Volume; what is there is the Volume's.
    """

    def __init__(self, ignore: Sequence[str], mounts: Mapping[str, str]):
        from modal import FilePatternMatcher

        stop_on(finding for each in ignore for finding in _check_pattern(each))
        patterns = [*USUAL, *map(_cleaned, ignore)]
        self._matches = FilePatternMatcher(*patterns)
        self._each = [(each, FilePatternMatcher(each)) for each in patterns if each[0] != "!"]
        self._wanted = FilePatternMatcher(
            *(each[1:] for each in map(_cleaned, ignore) if each[0] == "!")
        )
        self._volumes = {os.path.relpath(mount, WORK): name for mount, name in mounts.items()}

    def folder(self, path: str, real: str) -> Left | None:
        """Why a folder stays here with all that is in it. path: from the working folder; real: absolute."""
        if volume := self._volumes.get(path):
            return Left(
                f"the Volume {volume} is mounted there", f"`modal volume put {volume} LOCAL REMOTE`"
            )
        # Below a folder that a pattern leaves out, a later !pattern may bring a file back.
        whole = os.path.islink(real) or self._matches.can_prune_directories()
        if left := _named(path, SECRET_FOLDERS, MADE_FOLDERS) or (whole and self._left(path)):
            return left
        if os.path.islink(real):
            return LINKED
        if os.path.exists(f"{real}/pyvenv.cfg") or os.path.exists(f"{real}/conda-meta"):
            return Left("a Python environment is never sent", "Name its packages in pip_install")
        return None

    def file(self, path: str, real: str) -> Left | None:
        """Why a file stays here. For a link, its target's name counts too: Modal sends what is there."""
        left = _named(path, SECRET_FILES, MADE_FILES) or self._left(path)
        if left or not os.path.islink(real):
            return left
        target = os.path.realpath(real)
        above = (_named(part, SECRET_FOLDERS, ()) for part in Path(target).parts)
        return _named(target, SECRET_FILES, ()) or next(filter(None, above), None)

    def wanted(self, path: str) -> bool:
        """Whether a pattern of the user's asks for it: `!tests/a_key.txt`."""
        return self._wanted(Path(path))

    def _left(self, path: str) -> Left | None:
        if not self._matches(Path(path)):
            return None
        pattern = [each for each, matches in self._each if matches(Path(path))][-1]
        if pattern in USUAL:
            return Left(f"{pattern} is left out", f'`ignore: ["!{path}"]` brings it back')
        return Left(f"the pattern {pattern} leaves it out", "Remove it from `ignore` in cloud.yaml")


def _named(path: str, secret: tuple[str, ...], made: tuple[str, ...]) -> Left | None:
    name = os.path.basename(path).lower()
    if _any(secret + made).match(name):
        pattern = next(each for each in secret + made if fnmatchcase(name, each))
        if pattern in made:
            return Left(f"{pattern} is never sent", "Move what is needed to another folder")
        return Left(
            f"{pattern} is taken for a secret, and never sent",
            "Rename it, or pass what is in it by `secrets` in cloud.yaml",
        )
    return None


@cache
def _any(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, names)))


def _cleaned(pattern: str) -> str:
    """Modal mends `./data/` itself, but not `!./data/`."""
    bang, rest = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    return bang + os.path.normpath(rest.strip().lstrip("/"))


def _check_pattern(pattern: str) -> Iterator[Finding]:
    from modal import FilePatternMatcher

    where = f"cloud.yaml: ignore ({pattern!r})"
    if not pattern.strip("!/ "):
        yield Finding(where, "an empty pattern", "Remove it")
        return
    try:
        FilePatternMatcher(_cleaned(pattern).removeprefix("!"))(Path("any"))
    except ValueError as error:
        yield Finding(where, first_line(error), "Patterns are those of a .dockerignore")

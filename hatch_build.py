"""Let the README's links work on PyPI, which shows the README without the files beside it."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A link or a picture (!) whose target is a file of this repository.
LOCAL = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def with_addresses(text: str, address: str, version: str) -> str:
    """Return a README with absolute links.

    address: of the repository, as in [project.urls]. Without one, links become their text, and pictures go.
    """

    def absolute(match: re.Match[str]) -> str:
        mark, label, path = match.groups()
        if not address:
            return "" if mark else label
        kind = "raw" if mark else "blob"
        return f"{mark}[{label}]({address}/{kind}/v{version}/{path})"

    return LOCAL.sub(absolute, text)


class Readme(MetadataHookInterface):
    """Sets the project's readme when a wheel or an sdist is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme. metadata: the table [project]."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        address = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_addresses(text, address.rstrip("/"), metadata["version"]),
        }

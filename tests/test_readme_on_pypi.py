"""The README as PyPI shows it."""

import re
from pathlib import Path

import hatch_build

README = (Path(__file__).parents[1] / "README.md").read_text()
ADDRESS = "https://example.org/grpo"


def test_links_and_pictures_become_absolute():
    text = "![p](docs/p.png) [a](docs/a.md#b) [c](https://c.org) [d](#d)"
    found = hatch_build.with_addresses(text, ADDRESS, "1.0")
    assert found == (
        f"![p]({ADDRESS}/raw/v1.0/docs/p.png) [a]({ADDRESS}/blob/v1.0/docs/a.md#b) [c](https://c.org) [d](#d)"
    )


def test_no_link_of_the_readme_points_nowhere():
    with_address = hatch_build.with_addresses(README, ADDRESS, "1.0")
    without = hatch_build.with_addresses(README, "", "1.0")
    for text in (with_address, without):
        assert not re.search(r"\]\((?!https?://|#)", text)

"""The pages' links lead somewhere, and their screens are what the commands print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tools.options import page

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# A block whose first line is "# my.yaml" is that file; "$ cat FILE" shows a file.
FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")


def blocks(language: str) -> list[str]:
    return [
        body for path in PAGES for found, body in BLOCK.findall(path.read_text(encoding="utf-8")) if found == language
    ]


def screens() -> dict[str, str]:
    """Return each command of a console block, and the output that the page shows."""
    parts = [part for block in blocks("console") for part in re.split(r"^\$ ", block, flags=re.M)]
    return {command: output for command, _, output in (part.partition("\n") for part in parts if part)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    files = {name[1]: body for body in blocks("python") + blocks("yaml") if (name := FILE.match(body))}
    files |= {command.split()[-1]: text for command, text in screens().items() if re.match("cat|head", command)}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / target) if target else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            lines = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines]
            assert heading in slugs, f"{page.name}: {target}#{heading}"


def measured() -> list[tuple[str, str]]:
    """Return each config's results over all seeds, from the last line of the config and source in curves.md."""
    text = (ROOT / "benchmarks" / "results" / "curves.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (`([^`]+)`.*?) \| .* \| (.+?) \| (.+?) \|$", text, re.M)
    last = {label: (name, f"sampled {sampled}, greedy {greedy}") for label, name, sampled, greedy in lines}
    return [*last.values()]


@pytest.mark.parametrize(("name", "result"), measured())
def test_header_and_page_say_the_measured_result(name, result):
    header = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8").partition("base_model:")[0]
    page = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in page if line.startswith(f"| `configs/{name}.yaml`"))
    assert result in re.sub(r"\s*\n#\s*", " ", header)
    assert result in line


@pytest.mark.parametrize("config", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda file: file.stem)
def test_config_without_gpu_is_measured(config):
    text = config.read_text(encoding="utf-8")
    header = text.partition("base_model:")[0]
    if "two CPU cores" in header:
        assert "not measured" not in header
        if "\ngrpo_held_out_rows" in text:
            assert str(config.relative_to(ROOT / "configs").with_suffix("")) in dict(measured())


@pytest.mark.parametrize(
    "command",
    # tests/e2e/test_screens.py runs those that import Axolotl.
    [pytest.param(each, marks=pytest.mark.slow) if "check" in each else each for each in screens()],
)
def test_screens_are_what_the_commands_print(command, folder):
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "AXOLOTL_DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )
    printed, shown = (" ".join(text.split()) for text in (done.stdout, screens()[command]))
    assert printed == shown, done.stdout + done.stderr


def test_options_page_is_current():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == page(), (
        "Run: python -m tools.options > docs/options.md"
    )


def test_workflow_runs_the_commands_of_the_readme():
    commands = re.findall(r"^pip install uv && .*?(?= +#)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["readme"]["strategy"]["matrix"]["command"] == commands
    assert commands[1].partition("&& ")[2] in (ROOT / ".ci/run").read_text(encoding="utf-8")

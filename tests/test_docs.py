"""The pages' links lead somewhere, and their screens are what the commands print."""

import re
import shlex
import subprocess

import click
import pytest
import yaml

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands import fetch
from tests.conftest import ROOT, write_rows
from tests.e2e.conftest import environment
from tools.options import page

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "llms.txt"]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# A block whose first line is "# my.yaml" is that file; "$ cat FILE" shows a file.
FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")


def blocks(language):
    return [body for path in PAGES for found, body in BLOCK.findall(path.read_text()) if found == language]


def screens():
    """Return each command of a console block, and the output that the page shows."""
    parts = [part for block in blocks("console") for part in re.split(r"^\$ ", block, flags=re.M)]
    return {command: output for command, _, output in (part.partition("\n") for part in parts if part)}


def commands(group=grpo, path="axolotl-grpo"):
    """Yield each command that is no group, and the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def typed(text):
    """Return the commands of this package in a text, one per line."""
    return re.findall(r"^(?:\$ | *)(axolotl-grpo .*?) *(?:#.*)?$", text.replace("\\\n", ""), re.M)


EXAMPLES = [line for _, command in commands() for line in typed(command.help)]
OF_PAGES = [line for language in ("bash", "console") for block in blocks(language) for line in typed(block)]
# Each takes less than 3 s.
FAST = (
    "docs",
    "fetch",
    "init",
    "reward list",
    "reward score",
    "stats configs/quickstart.yaml",
    "train configs/quickstart.yaml --dry-run",
)
# They need the network, or judge this machine.
# tests/e2e/test_convert.py has recipes, and tests/commands has runs of several seeds.
NOT_RUN = ("fetch smollm2", "doctor", "stats --data", "convert", "eval --runs")
ROWS = [{"question": f"{n} + 1?", "answer": f"{n + 1}"} for n in range(8)]


def words_of(command, beginnings):
    return f"{command} ".startswith(tuple(f"axolotl-grpo {beginning} " for beginning in beginnings))


def is_fast(command):
    return words_of(command, FAST) and not words_of(command, NOT_RUN) and "outputs/" not in command


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Return a folder with the pack, and with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    fetch.configs(folder)
    files = {
        "my.jsonl": [{**row, "problem": row["question"], "solution": row["answer"]} for row in ROWS],
        "tries.jsonl": [{"completion": "<answer>\n3\n</answer>", "answer": "3"}],
        "rows.jsonl": [{**row, "answer": f"#### {row['answer']}"} for row in ROWS * 64],
    }
    for name, rows in files.items():
        write_rows(folder / name, rows)
    return folder


def run_in(folder, command):
    environ = environment(COLUMNS="100")
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, env=environ)


def check_example(folder, command):
    done = run_in(folder, command)
    # A fault that an attack found is exit code 1.
    allowed = (0, 1) if "attack" in command else (0,)
    assert done.returncode in allowed and "Traceback" not in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("path, command", list(commands()))
def test_help_has_an_example_of_its_own_command(path, command):
    own = typed(command.help)
    assert own and all(line.startswith(f"{path} ") or line == path for line in own)


@pytest.mark.parametrize("command", sorted({*EXAMPLES, *OF_PAGES}))
def test_example_is_a_command_line_that_exists(command, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: value)
    _, *words = shlex.split(command)
    if words == ["COMMAND"]:
        return
    # click keeps the first help option that a command makes, so the context has the names of ours.
    group, context = grpo, click.Context(grpo, **grpo.context_settings)
    while isinstance(group, click.Group):
        name, *words = words
        group = group.commands[name]
    group.make_context(name, words, parent=context)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", [command for command in EXAMPLES if is_fast(command)])
def test_fast_example_runs(command, fetched):
    check_example(fetched, command)


@pytest.mark.slow
def test_slow_examples_run_one_after_the_other(fetched):
    others = [line for line in EXAMPLES if not is_fast(line) and not words_of(line, NOT_RUN)]
    # The trainings first, because others read their folders.
    for command in sorted(others, key=lambda line: " train " not in line):
        check_example(fetched, command)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    files = {name[1]: body for body in blocks("python") + blocks("yaml") if (name := FILE.match(body))}
    files |= {command.split()[-1]: text for command, text in screens().items() if re.match("cat|head", command)}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target, heading in LINK.findall(page.read_text()):
        file = (page.parent / target) if target else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            lines = re.findall(r"^#+ (.*)", file.read_text(), re.M)
            slugs = [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines]
            assert heading in slugs, f"{page.name}: {target}#{heading}"


def test_index_for_assistants_names_each_page():
    named = {target for target, _ in LINK.findall((ROOT / "llms.txt").read_text())}
    assert named >= {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")}


def measured():
    """Return each config's results over all seeds, from the last line of the config and source in curves.md."""
    text = (ROOT / "benchmarks" / "results" / "curves.md").read_text()
    lines = re.findall(r"^\| (`([^`]+)`.*?) \| .* \| (.+?) \| (.+?) \|$", text, re.M)
    last = {label: (name, f"sampled {sampled}, greedy {greedy}") for label, name, sampled, greedy in lines}
    return [*last.values()]


@pytest.mark.parametrize("name, result", measured())
def test_header_and_page_say_the_measured_result(name, result):
    header = (ROOT / "configs" / f"{name}.yaml").read_text().partition("base_model:")[0]
    page = (ROOT / "docs" / "configs.md").read_text().splitlines()
    (line,) = (line for line in page if line.startswith(f"| `configs/{name}.yaml`"))
    assert result in re.sub(r"\s*\n#\s*", " ", header)
    assert result in line


@pytest.mark.parametrize("config", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda file: file.stem)
def test_config_without_gpu_is_measured(config):
    text = config.read_text()
    header = text.partition("base_model:")[0]
    if "two CPU cores" in header:
        assert "not measured" not in header
        if "\ngrpo_held_out_rows" in text:
            assert str(config.relative_to(ROOT / "configs").with_suffix("")) in dict(measured())


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "command",
    # tests/e2e/test_screens.py runs those that import Axolotl.
    [command for command in screens() if "check" not in command],
)
def test_screens_are_what_the_commands_print(command, folder):
    done = run_in(folder, command)
    printed, shown = (" ".join(text.split()) for text in (done.stdout, screens()[command]))
    assert printed == shown, done.stdout + done.stderr


def test_options_page_is_current():
    assert (ROOT / "docs/options.md").read_text() == page(), "Run: python -m tools.options > docs/options.md"


def test_workflow_runs_the_commands_of_the_readme():
    commands = re.findall(r"^pip install uv && .*?(?= +#)", (ROOT / "README.md").read_text(), re.M)
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["jobs"]["readme"]["strategy"]["matrix"]["command"] == commands
    assert commands[1].partition("&& ")[2] in (ROOT / ".ci/run").read_text()

from axolotl_grpo_plugin.paths import shipped
from tests.conftest import invoke


def test_lists_each_page_with_its_title():
    screen = invoke("docs").output
    pages = list(shipped("docs").glob("*.md"))
    assert len(screen.splitlines()) == len(pages) > 20
    assert "gpus                   Train on GPUs" in screen


def test_prints_a_page_as_it_is():
    assert invoke("docs", "gpus").output.strip() == (shipped("docs") / "gpus.md").read_text().strip()


def test_finds_headings_before_other_lines():
    lines = invoke("docs", "lora").output.splitlines()
    assert all("lora" in line.lower() for line in lines[:-1])
    headings = [": #" in line for line in lines[:-1]]
    assert headings[0] and not headings[-1] and headings == sorted(headings, reverse=True)


def test_refuses_text_that_no_page_has():
    assert "no page has this text" in invoke("docs", "xyzzy-plugh", code=1).output

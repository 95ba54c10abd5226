"""The page in a real Chromium: its views, search, comparison, and texts that try to run as script."""

import threading
import urllib.error
import urllib.request

import pytest

from axolotl_grpo_plugin.viewer.page import packed, page, server
from axolotl_grpo_plugin.viewer.run import RunRecord
from tests.viewer.chromium import PROGRAM, browser
from tests.viewer.data import write_eval, write_run, write_step

pytestmark = [pytest.mark.skipif(not PROGRAM, reason="needs Chromium: apt-get install chromium"), pytest.mark.slow]
pytest.importorskip("websockets")
VIEWS = ("run", "groups", "odd", "find", "prompts", "answers", "compare")


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        opened.size(1280)
        yield opened


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_eval(write_run(folder / "one"))
    write_run(folder / "two", steps=3)
    write_step(folder / "two", 4, [("b1: 2 + 2?", "4", 1, 0.5)])
    return [folder / "one", folder / "two"]


@pytest.fixture
def shown(chromium, runs, tmp_path):
    """The page of both runs. At the end of a test, no script failed and no text ran."""
    file = tmp_path / "view.html"
    data = packed([RunRecord(folder).data() for folder in runs])
    file.write_text(page("two runs", data), encoding="utf-8")
    chromium.errors.clear()
    chromium.open(f"file://{file}")
    yield chromium
    assert chromium.errors == []
    assert chromium.run("window.hacked") is None
    assert chromium.run("document.scripts.length") == 1  # the data is removed
    assert chromium.run("document.querySelectorAll('main img, main b b').length") == 0


def text(browser, selector="main"):
    return browser.run(f"document.querySelector({selector!r})?.innerText")


@pytest.mark.parametrize("width", [1280, 400])
def test_each_view_opens_and_fits(shown, width):
    shown.size(width)
    for view in VIEWS:
        for run in (0, 1):
            shown.view(f"view={view}&run={run}")
            assert shown.run("document.querySelector('[aria-current]').innerText").lower()
            assert shown.run("document.documentElement.scrollWidth") <= width, view
    shown.size(1280)


def test_hostile_texts_are_shown_as_text(shown):
    shown.view("view=groups&step=1")
    cards = shown.run("[...document.querySelectorAll('.card .text')].map(each => each.textContent)")
    assert "<img src=x onerror='window.hacked = 1'>" in cards
    assert any(card.startswith("x" * 20_000) for card in cards)
    assert "more characters" in text(shown)
    shown.run("document.querySelector('.card .text button').click()")
    assert shown.run("Math.max(...[...document.querySelectorAll('.text')].map(e => e.textContent.length))") > 200_000
    assert "the model is not trained on it" in text(shown)  # the message of a tool
    assert "add(<b>2</b>)" in text(shown)


def test_click_on_a_curve_opens_its_step(shown):
    shown.view("view=run")
    shown.run(
        "(() => { const svg = document.querySelector('svg.go'), box = svg.getBoundingClientRect();"
        "svg.dispatchEvent(new MouseEvent('click', {clientX: box.right - 1, clientY: box.top + 9})) })()"
    )
    shown.wait("document.querySelector('main').innerText.includes('Step 6')")


def test_keys_move_through_groups_and_steps(shown):
    shown.view("view=groups&step=1")
    shown.key("j")
    assert shown.run("document.querySelectorAll('.item')[1].getAttribute('aria-selected')") == "true"
    assert "b1: 2 + 2?" in text(shown, ".side")
    shown.key("l")
    shown.wait("document.querySelector('main').innerText.includes('Step 2')")
    shown.key("?")
    assert shown.run("document.querySelector('dialog').open")


def test_find_filters_by_text_reason_and_advantage(shown):
    for place, count in (
        ("text=needle", 2),
        ("text=NEEDLE&why=correct", 0),
        ("text=/needle 4|is 3,/", 3),
        ("why=wrong_value", 30),
        ("right=true", 30),
        ("right=true&advantage=-", 24),
        ("cut=true", 6),
        ("reward=1&low=0.6", 0),
        ("group=true&column source=b", 12),
        ("text=${1}", 6),
    ):
        shown.view(f"view=find&{place}")
        assert text(shown, ".count") == f"{count} of 60", place
    shown.view("view=find&text=needle")
    assert text(shown, "mark.hit") == "needle"
    shown.run("document.querySelector('input[type=search]').value = 'is 5,'")
    shown.run("document.querySelector('input[type=search]').dispatchEvent(new Event('change'))")
    shown.wait("document.querySelector('.count').innerText.startsWith('1 ')")


def test_changed_answers_are_first(shown):
    shown.view("view=answers")
    assert "✗ → ✓ 3, ✓ → ✗ 1, of 4" in text(shown)
    shown.view("view=answers&table=1&from=0&to=1")
    assert "row 0" in text(shown, ".item") and "✗ → ✓ 1" in text(shown)


def test_two_runs_and_two_rewards_are_compared_flips_first(shown):
    shown.view("view=compare&what=0")
    assert "one, after" in text(shown) and "two, after" in text(shown)
    shown.view("view=compare&what=1")
    assert "✗ → ✓ 1" in text(shown)  # the prompt b1
    assert "b1: 2 + 2?" in text(shown, ".item")
    shown.view("view=compare&what=2&one=0&two=1")
    assert "✗ → ✓ 24" in text(shown)  # of 30 wrong rollouts, six have a layout that failed


def test_part_that_a_reward_read_is_marked(shown):
    shown.view("view=groups&step=1&item=1")
    assert text(shown, ".side mark") == "4"


def test_server_follows_a_run_and_answers_this_machine_only(chromium, tmp_path):
    write_step(tmp_path, 1, [("p", "first", 1, 0.5)])
    with server("live", [RunRecord(tmp_path)], 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        host, port = serving.server_address
        assert host == "127.0.0.1"
        chromium.errors.clear()
        chromium.open(f"http://127.0.0.1:{port}/")
        assert chromium.run("RUNS[0].steps.length") == 1
        write_step(tmp_path, 2, [("p", "second", 1, 0.5)])
        chromium.wait("RUNS[0].steps.length === 2")
        assert chromium.errors == []
        chromium.call("Page.navigate", url="about:blank")
        other = urllib.request.Request(f"http://127.0.0.1:{port}/data?seen=0", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(other)
        serving.shutdown()

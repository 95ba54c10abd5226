"""The bar of a phase appears if the phase is long, and stays with its time."""

import time

from axolotl_grpo_plugin.report import console
from axolotl_grpo_plugin.report.console import progress


def test_long_phase_stays_on_the_screen_with_its_time(monkeypatch, capsys):
    monkeypatch.setattr(console, "_LONG", 0.05)
    for seconds, is_shown in ((0.0, False), (0.06, True)):
        with progress("reading a.jsonl", 3, "rows") as bar:
            for _ in range(3):
                time.sleep(seconds)
                bar.update()
        printed = capsys.readouterr().err
        assert ("reading a.jsonl: 100%" in printed and "3/3 [00:00<" in printed) == is_shown
        assert bool(printed) == is_shown


def test_other_ranks_show_nothing(monkeypatch, capsys):
    monkeypatch.setattr(console, "_LONG", 0.0)
    with progress("held-out rows, greedy", 3, "rows", shown=False) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""

"""The table of checks."""

import pytest

from axolotl_grpo_plugin.checks import table
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import fault

REFUSAL = fault("refused-whole", "the config", "two keys clash", "Remove one")


@pytest.mark.parametrize("cost, hides", [("yaml", True), ("disk", False), ("machine", False)])
def test_only_errors_of_the_config_hide_a_refusal_of_axolotl(monkeypatch, cost, hides):
    error = fault("some-error", "output_dir", "it cannot be written", "Make it writable")
    monkeypatch.setattr(table, "CHECKS", (table.Check(cost, lambda facts: [error]),))
    facts = table.Facts(Config({}))
    assert list(table.findings(facts, cost)) == [error]
    assert facts.says_less(REFUSAL) is hides

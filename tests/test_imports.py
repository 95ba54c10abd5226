"""Every Axolotl command imports the package, so it imports nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "axolotl", "transformers", "datasets", "trl", "matplotlib", "pydantic"}


@pytest.mark.parametrize(
    "code",
    [
        "import axolotl_grpo_plugin",
        "import axolotl_grpo_plugin.cli",  # `axolotl --help` does this
        "from axolotl_grpo_plugin import gsm8k",
        "from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func",
    ],
)
def test_imports_nothing_heavy(code):
    script = f"import sys; {code}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)


def test_unknown_name_is_an_attribute_error():
    import axolotl_grpo_plugin

    with pytest.raises(AttributeError, match="'axolotl_grpo_plugin' has no attribute 'gsm9k'"):
        axolotl_grpo_plugin.gsm9k  # noqa: B018
    assert "gsm8k" in dir(axolotl_grpo_plugin)

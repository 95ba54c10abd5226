"""The log of stacks. tests/e2e/test_stall.py has runs that hang."""

from tests.conftest import Later

stall = Later("axolotl_grpo_plugin.training.stall")


def test_makes_the_output_folder_of_its_node(tmp_path):
    """Axolotl makes it in the first rank only, and nodes may have disks of their own."""
    stall.Watchdog(None, str(tmp_path / "outputs" / "mine")).close()
    assert (tmp_path / "outputs" / "mine" / "debug.log").exists()

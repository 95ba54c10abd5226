import os
import signal
import sys

from axolotl_grpo_plugin.serving.tree import spawn


def test_what_is_started_from_a_background_job_can_be_told_to_save(tmp_path):
    """A shell ignores SIGINT for those, and children inherit it."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (tmp_path / "said").open("w") as said:
        assert spawn([sys.executable, "-c", code], os.environ, said).wait() == 0
    signal.signal(signal.SIGINT, before)
    assert (tmp_path / "said").read_text() == "True\n"

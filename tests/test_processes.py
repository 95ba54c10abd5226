import errno
import os
import signal
import sys
from contextlib import nullcontext

import pytest

from axolotl_grpo_plugin import processes


def test_child_of_a_background_job_hears_sigint(tmp_path):
    """A shell ignores SIGINT in background jobs, and children inherit that."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (tmp_path / "out").open("w") as out:
        assert processes.spawn([sys.executable, "-c", code], os.environ, out).wait() == 0
    signal.signal(signal.SIGINT, before)
    assert (tmp_path / "out").read_text() == "True\n"


@pytest.mark.parametrize("number, raises", [(errno.EINVAL, False), (errno.EPERM, True)])
def test_kernel_without_subreapers_is_accepted(monkeypatch, number, raises):
    """An older gVisor returns EINVAL. Other errors are raised."""

    def refuse(option, value):
        raise OSError(number, "prctl")

    monkeypatch.setattr(processes, "_prctl", refuse)
    with pytest.raises(OSError, match="prctl") if raises else nullcontext():
        processes.adopt_orphans()

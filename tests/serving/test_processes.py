import errno
import os
import signal
import sys

import pytest

from axolotl_grpo_plugin.serving import processes as tree
from axolotl_grpo_plugin.serving.processes import spawn


def test_child_of_a_background_job_hears_sigint(tmp_path):
    """A shell ignores SIGINT for those, and children inherit it."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (tmp_path / "said").open("w") as said:
        assert spawn([sys.executable, "-c", code], os.environ, said).wait() == 0
    signal.signal(signal.SIGINT, before)
    assert (tmp_path / "said").read_text() == "True\n"


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.EPERM, True)])
def test_kernel_without_subreapers_is_accepted(monkeypatch, number, raises):
    """An older gVisor. What else the kernel refuses is an error."""

    def refuse(option, value):
        raise OSError(number, "prctl")

    monkeypatch.setattr(tree, "_prctl", refuse)
    if raises:
        with pytest.raises(OSError, match="prctl"):
            tree.adopt_orphans()
    else:
        tree.adopt_orphans()

"""`typed`: Axolotl's commands in this process."""

import logging
import signal
from types import SimpleNamespace

import pytest

from tests.cloud.conftest import modal_service, no_keys, no_token, project  # noqa: F401


@pytest.fixture
def typed(project, capfd, monkeypatch):  # noqa: F811
    """Type `axolotl WORDS` in the project, and return the exit code and the output."""
    from axolotl.cli import main

    # A logger of Axolotl writes to the captured stderr of an earlier test, which is closed.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(command, *words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            getattr(main, command).main(list(words), prog_name=f"axolotl {command}")
        out, err = capfd.readouterr()
        err = "".join(line for line in err.splitlines(True) if not line.startswith("W1"))  # torch's
        code = ended.value.code
        if isinstance(code, str):  # the interpreter prints it
            code, err = 1, f"{err}{code}\n"
        return SimpleNamespace(code=int(code or 0), out=out, err=err)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker may have another
    yield run
    logging.disable(logging.NOTSET)  # Ctrl-C during the checks leaves logging disabled
    signal.signal(signal.SIGINT, before)

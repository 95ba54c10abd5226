"""What Modal's client raises, in words. tests/cloud/test_start.py has it raise them."""

import pytest
from modal import exception

from axolotl_grpo_plugin.cloud.errors import in_one_line, said
from axolotl_grpo_plugin.findings import ConfigError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            exception.NotFoundError("Secret 'mine' not found in environment main"),
            "there is no such Secret (Secret 'mine' not found in environment main). Make it with "
            "`modal secret create`, or remove it from cloud.yaml's secrets.",
        ),
        (
            exception.NotFoundError("Environment 'x' not found."),
            "Environment 'x' not found. See https://modal.com/docs, or https://status.modal.com.",
        ),
        (
            exception.ExecutionError("/a/log was modified during build process."),
            "a file changed while it was sent (/a/log was modified during build process). "
            "Start again when nothing writes to it (`touch` it if its date lies ahead), or add it to "
            "ignore in cloud.yaml.",
        ),
        (
            exception.InvalidError("Memory is too large\nand more"),
            "Memory is too large. See https://modal.com/docs, or https://status.modal.com.",
        ),
        (
            exception.VersionError("unknown builder"),
            "this client does not fit (unknown builder). pip install --upgrade modal.",
        ),
        (
            exception.ServiceError(""),
            "ServiceError. See https://modal.com/docs, or https://status.modal.com.",
        ),
        (
            exception.RemoteError(""),
            "the container was ended (the app stopped, memory out, or lost). The same command "
            "goes on from the last checkpoint; if memory was out, raise memory in cloud.yaml.",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_line(error, line):
    assert said(error) == line


def test_it_ends_the_program_with_that_line():
    with pytest.raises(ConfigError) as raised, in_one_line():
        raise exception.AuthError("Token missing. Could not authenticate client.")
    assert str(raised.value) == (
        "axolotl-grpo-plugin: Modal: there is no token here (Token missing). Run `modal token new`."
    )


def test_what_is_not_modals_goes_on():
    with pytest.raises(KeyError), in_one_line():
        raise KeyError("a fault of ours")

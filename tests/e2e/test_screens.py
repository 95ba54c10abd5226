"""The screens of the pages whose commands import Axolotl. tests/test_docs.py has the others."""

import pytest

from tests import test_docs

folder = test_docs.folder


@pytest.mark.parametrize("command", [command for command in test_docs.screens() if "check" in command])
def test_screens_are_what_the_commands_print(command, folder):
    test_docs.test_screens_are_what_the_commands_print(command, folder)

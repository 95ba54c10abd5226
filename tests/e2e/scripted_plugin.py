"""A plugin that writes the turns of tests/e2e/scripted.py."""

from axolotl.integrations.base import BasePlugin

from tests.e2e.scripted import write_scripted


class Scripted(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        write_scripted(trainer)

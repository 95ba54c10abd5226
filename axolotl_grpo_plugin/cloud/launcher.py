"""`provider: grpo-modal`: the class that Axolotl's `--cloud` starts."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from axolotl.cli import main as axolotl
from axolotl.cli.cloud.base import CloudLauncher

from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.commands.train import processes_of
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving.plan import Call


class ModalLauncher(CloudLauncher):
    """Train or preprocess a config on Modal. Axolotl hands over the config's text and the options."""

    def __init__(self, config: dict[str, Any]):
        super().__init__(config)
        if find_spec("modal") is None:
            raise ConfigError('modal is missing. Run `pip install "axolotl-grpo-plugin[modal]"`.')
        self.settings: Settings = read(config, _typed().get("cloud") or "cloud.yaml")

    def train(self, config_yaml: str, *args: Any, **params: Any) -> None:
        """Train in a container. params: Axolotl's parameters, and options of the config."""
        after, _ = list(params.pop("launcher_args", None) or ()), params.pop("local_dirs", None)
        launcher = params.pop("launcher", "accelerate")
        words, options = _words(axolotl.train, params)
        words += [f"--launcher={launcher}"] * (launcher != "accelerate")
        processes = 1 if launcher == "python" else processes_of(after)
        call = Call("", launcher, words, options, after, processes)
        self._start(["grpo", "train"], config_yaml, call)

    def preprocess(self, config_yaml: str, *args: Any, **kwargs: Any) -> None:
        """Load and prepare the datasets in a container without a GPU."""
        typed = {key: value for key, value in _typed().items() if key not in ("config", "cloud")}
        words, options = _words(axolotl.preprocess, typed)  # Axolotl hands over no options here
        self._start(["preprocess"], config_yaml, Call("", "accelerate", words, options, [], None))

    def _start(self, command: list[str], text: str, call: Call) -> None:
        config = _typed().get("config") or "config.yaml"  # a sweep's text is in no file
        path = Path(os.path.relpath(config.partition("?")[0]))
        name = path.name if ".." in path.parts or "://" in config else path.as_posix()
        after = [word for word in call.after if word != "--dry-run"]
        dry = self.settings.dry_run or after != call.after
        try:
            from axolotl_grpo_plugin.cloud.start import Start  # imports Modal's client

            with TemporaryDirectory() as folder:
                file = Path(folder, path.name)
                file.write_text(text, encoding="utf-8")
                call = call._replace(config=name, after=after)
                start = Start(self.settings, command, call, str(file), text)
                start.check()
                code = 0 if dry else start.go()
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing runs on Modal.")
            code = 130
        if code:  # after 0, a sweep goes on
            raise SystemExit(code)


def _typed() -> dict[str, Any]:
    """Return the parameters of the running Axolotl command; {} if Python code calls the launcher."""
    context = click.get_current_context(silent=True)
    return context.params if context and "cloud" in context.params else {}


def _words(command: click.Command, given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the options that differ from the command's defaults: as words, and by name."""
    known = {str(option.name): option for option in command.params}
    words, options = [], {}
    for name, value in given.items():
        if value not in (None, (option := known[name]).default):
            options[name] = value
            if isinstance(value, bool) and option.secondary_opts:
                words.append((option.opts if value else option.secondary_opts)[0])
            else:
                words.append(f"{option.opts[0]}={value}")
    return words, options

"""`provider: grpo-modal`: the class that Axolotl's `--cloud` starts."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from axolotl.cli import main as axolotl
from axolotl.cli.cloud.base import CloudLauncher

from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.commands.train import processes_of
from axolotl_grpo_plugin.findings import exit_on_findings, stop
from axolotl_grpo_plugin.serving.plan import CommandLine

type Parameters = dict[str, Any]  # of an Axolotl command, by their names


class ModalLauncher(CloudLauncher):
    """Train a config on Modal. Axolotl hands over the config's text and the options."""

    @exit_on_findings()
    def __init__(self, config: Parameters):
        super().__init__(config)
        if find_spec("modal") is None:
            stop(
                "no-modal",
                "--cloud",
                "the package modal is not installed",
                'Run `pip install "modal>=1.3.0.post1,<2"`',
            )
        self.settings: Settings = read(config, _typed().get("cloud") or "cloud.yaml")

    @exit_on_findings()
    def train(self, config_yaml: str, *args: Any, **params: Any) -> None:
        """Train in a container. params: Axolotl's parameters, and options of the config."""
        after = list(params.pop("launcher_args", None) or ())
        launcher = params.pop("launcher", "accelerate")
        params.pop("local_dirs", None)
        words, options = _words(params)
        if launcher != "accelerate":
            words.append(f"--launcher={launcher}")
        processes = processes_of(after) if launcher != "python" else 1
        self._start(config_yaml, CommandLine("", launcher, words, options, after, processes))

    @exit_on_findings()
    def preprocess(self, config_yaml: str, *args: Any, **kwargs: Any) -> None:
        """Refuse it: a GRPO run prepares its rows in seconds, and trains on no prepared dataset."""
        stop(
            "no-preprocess",
            "axolotl preprocess --cloud",
            "not supported",
            "Run `axolotl train` with --cloud, which prepares the rows itself",
        )

    def _start(self, text: str, call: CommandLine) -> None:
        config = _typed().get("config") or "config.yaml"  # a sweep's text is in no file
        path = Path(os.path.relpath(config.partition("?")[0]))
        name = path.as_posix()
        if ".." in path.parts or "://" in config:
            name = path.name  # the container has only the working folder's files
        after = [word for word in call.after if word != "--dry-run"]
        dry = after != call.after
        code = 0
        start = None
        before = signal.getsignal(signal.SIGTERM)
        try:
            from axolotl_grpo_plugin.cloud.start import Start  # imports Modal's client

            with TemporaryDirectory() as folder:
                file = Path(folder, path.name)
                file.write_text(text, encoding="utf-8")
                call = call._replace(config=name, after=after)
                start = Start(self.settings, call, str(file), text)
                if not start.check():
                    code = 1
                elif not dry:
                    code = start.go()
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing runs on Modal.")
            code = start.interrupted() if start else 130
        finally:
            signal.signal(signal.SIGTERM, before)
        if code:  # after 0, a sweep goes on
            raise SystemExit(code)


def _typed() -> Parameters:
    """Return the parameters of the running Axolotl command; {} if Python code calls the launcher."""
    context = click.get_current_context(silent=True)
    if context and "cloud" in context.params:
        return context.params
    return {}


def _words(given: Parameters) -> tuple[list[str], Parameters]:
    """Return the options that differ from the defaults of `axolotl train`: as words, and by name."""
    words = []
    options = {}
    for option in axolotl.train.params:
        name = str(option.name)
        value = given.get(name)
        if value is None or value == option.default:
            continue
        options[name] = value
        word = option.opts[0]
        if not isinstance(value, bool) or not option.secondary_opts:
            word += f"={value}"
        elif not value:
            word = option.secondary_opts[0]
        words.append(word)
    return words, options

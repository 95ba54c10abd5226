"""`provider: grpo-modal`: the class that Axolotl's `--cloud` starts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import urlsplit

import click
from axolotl.cli import main as axolotl
from axolotl.cli.cloud.base import CloudLauncher

from axolotl_grpo_plugin.cloud.remote import PARCEL
from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.commands.train import processes_of
from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving.plan import Call

DRY_RUN = "--dry-run"


class ModalLauncher(CloudLauncher):
    """Train or preprocess a config on Modal, as `cloud.yaml` says.

    Axolotl hands over the config's text and the options. The rest of the working folder goes with
    them (parcel.py), and all that can be known is checked here before Modal is asked for anything.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__(config)
        if find_spec("modal") is None:
            what = 'its client is not installed. pip install "axolotl-grpo-plugin[modal]"'
            raise ConfigError(f"axolotl-grpo-plugin: Modal: {what}")
        self.settings: Settings = read(config, _typed().get("cloud") or "cloud.yaml")

    def get_local_dirs(self, cwd: Path | str | None) -> dict[str, str]:
        return {str(PARCEL): str(cwd or Path.cwd())}

    def train(
        self,
        config_yaml: str,
        launcher: Literal["accelerate", "torchrun", "python"] = "accelerate",
        launcher_args: list[str] | None = None,
        local_dirs: dict[str, str] | None = None,
        **overrides: Any,
    ) -> None:
        """Train in a container, and wait for the end.

        Raises SystemExit with the training's exit code where that is not 0, or with one line on
        what is in its way.
        """
        words, options = _words(axolotl.train, overrides)
        if launcher != "accelerate":
            words.append(f"--launcher={launcher}")
        after = list(launcher_args or [])
        processes = 1 if launcher == "python" else processes_of(after)
        call = Call("", launcher, words, options, after, processes)
        folder = (local_dirs or self.get_local_dirs(None))[str(PARCEL)]
        self._start(["grpo", "train"], config_yaml, folder, call)

    def preprocess(self, config_yaml: str, *args: Any, **kwargs: Any) -> None:
        """Load and prepare the datasets in a container without a GPU. Raises as `train` does."""
        typed = {key: value for key, value in _typed().items() if key not in ("config", "cloud")}
        words, options = _words(axolotl.preprocess, typed)  # Axolotl hands over no options here
        call = Call("", "accelerate", words, options, [], None)
        self._start(["preprocess"], config_yaml, self.get_local_dirs(None)[str(PARCEL)], call)

    def _start(self, command: list[str], text: str, folder: str, call: Call) -> None:
        from axolotl_grpo_plugin.cloud.start import Start  # imports Modal's client

        dry = self.settings.dry_run or DRY_RUN in call.after
        after = [word for word in call.after if word != DRY_RUN]
        with _file(text, folder) as (name, file):
            call = call._replace(config=name, after=after)
            start = Start(self.settings, Path(folder), command, call, file, text)
            start.check()
            code = 0 if dry else start.go()
        if code:  # after 0, a sweep goes on
            raise SystemExit(code)


def _typed() -> dict[str, Any]:
    """The parameters of Axolotl's command that runs; none where Python code calls the launcher."""
    context = click.get_current_context(silent=True)
    # Not by its identity: `python -m axolotl.cli.main` has commands of its own.
    return context.params if context and "cloud" in context.params else {}


def _words(command: click.Command, given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The options that differ from the command's defaults: as words, and by their names."""
    words, options = [], {}
    left = dict(given)
    for option in command.params:
        value = left.pop(str(option.name), None)
        if value is None or value == option.default:
            continue
        options[str(option.name)] = value
        if isinstance(value, bool) and option.secondary_opts:
            words.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            words.append(f"{option.opts[0]}={value}")
    if left:
        raise TypeError(f"`axolotl {command.name}` has no option {', '.join(left)}")
    return words, options


@contextmanager
def _file(text: str, folder: str) -> Iterator[tuple[str, str]]:
    """The config's path in the container, relative to the run folder, and a file here with its text.

    Axolotl hands over the text alone, which in a sweep is in no file that the user knows.
    """
    config = _typed().get("config") or "config.yaml"
    path = Path(os.path.relpath(config, folder))
    name = path.name if ".." in path.parts else path.as_posix()
    if config.startswith("https://"):
        name = Path(urlsplit(config).path).name
    if os.path.isfile(config) and Path(config).read_text(encoding="utf-8") == text:
        yield name, config
        return
    with TemporaryDirectory() as made:
        file = Path(made, Path(name).name)
        file.write_text(text, encoding="utf-8")
        yield name, str(file)

"""`provider: grpo-modal`: the class that Axolotl's `--cloud` starts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import click
from axolotl.cli import main as axolotl
from axolotl.cli.cloud.base import CloudLauncher

from axolotl_grpo_plugin.cloud.remote import PARCEL
from axolotl_grpo_plugin.cloud.settings import Settings, read
from axolotl_grpo_plugin.cloud.start import Start, Typed

DRY_RUN = "--dry-run"


class ModalLauncher(CloudLauncher):
    """Train or preprocess a config on Modal, as `cloud.yaml` says.

    Axolotl hands over the config's text and the options. The rest of the working folder goes with
    them (parcel.py), and all that can be known is checked here before Modal is asked for anything.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__(config)
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

        Raises SystemExit with the training's exit code, or one line on what is in its way.
        """
        words, options = _words(axolotl.train, overrides)
        if launcher != "accelerate":
            words.append(f"--launcher={launcher}")
        after = list(launcher_args or [])
        folder = (local_dirs or self.get_local_dirs(None))[str(PARCEL)]
        self._start(["grpo", "train"], config_yaml, folder, words, options, after)

    def preprocess(self, config_yaml: str, *args: Any, **kwargs: Any) -> None:
        """Load and prepare the datasets in a container without a GPU. Raises as `train` does."""
        words, options = _words(axolotl.preprocess, _typed())  # Axolotl hands over no options here
        folder = self.get_local_dirs(None)[str(PARCEL)]
        self._start(["preprocess"], config_yaml, folder, words, options, [])

    def _start(
        self,
        command: list[str],
        text: str,
        folder: str,
        words: list[str],
        options: Mapping[str, Any],
        after: Sequence[str],
    ) -> None:
        dry = self.settings.dry_run or DRY_RUN in after
        with _file(text, Path(folder)) as (name, file):
            typed = Typed(
                command, name, words, [word for word in after if word != DRY_RUN], options
            )
            start = Start(self.settings, Path(folder), typed, file, text)
            start.check()
            if not dry:
                raise SystemExit(start.go())


def _typed() -> dict[str, Any]:
    """The parameters of the command that runs; none where Python code calls the launcher."""
    context = click.get_current_context(silent=True)
    return context.params if context else {}


def _words(command: click.Command, given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The options that differ from the command's defaults: as words, and by their names."""
    words, options = [], {}
    for option in command.params:
        value = given.get(str(option.name))
        own = {"config", "cloud", "launcher", "sweep"}
        if option.name in own or value is None or value == option.default:
            continue
        options[str(option.name)] = value
        if isinstance(value, bool) and option.secondary_opts:
            words.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            words.append(f"{option.opts[0]}={value}")
    return words, options


@contextmanager
def _file(text: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The config's path in the container, relative to the run folder, and a file here with its text.

    Axolotl hands over the text alone, which in a sweep is in no file that the user knows.
    """
    config = Path(_typed().get("config") or "config.yaml")
    inside = config.absolute().is_relative_to(folder.absolute())
    name = config.absolute().relative_to(folder.absolute()).as_posix() if inside else config.name
    if config.is_file() and config.read_text(encoding="utf-8") == text:
        yield name, str(config)
        return
    with TemporaryDirectory() as made:
        file = Path(made, config.name)
        file.write_text(text, encoding="utf-8")
        yield name, str(file)

"""One start on Modal: checked, shown, done."""

import logging
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import click
import modal

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks import command as checks
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.cloud import remote, resume, secrets
from axolotl_grpo_plugin.cloud.checkpoints import newest_first
from axolotl_grpo_plugin.cloud.errors import in_one_line
from axolotl_grpo_plugin.cloud.gpus import cost
from axolotl_grpo_plugin.cloud.image import image_of, source
from axolotl_grpo_plugin.cloud.local import check_local, check_output
from axolotl_grpo_plugin.cloud.parcel import Parcel, pack
from axolotl_grpo_plugin.cloud.settings import Settings
from axolotl_grpo_plugin.lengths.command import read
from axolotl_grpo_plugin.paths import block
from axolotl_grpo_plugin.serving.command import processes_of
from axolotl_grpo_plugin.serving.placement import mode_of

STARTUP = 1800  # seconds; without it, a container that does not come up takes the whole timeout


class Typed(NamedTuple):
    """What the user typed.

    command: the words after `axolotl`. config: the YAML's path, from the working folder. words: the
    options, after: the launcher's; options: the former by the names of Axolotl's parser.
    """

    command: list[str]
    config: str
    words: list[str]
    after: list[str]
    options: Mapping[str, Any]


class Start:
    """A command in a container. file: the config, here. text: what is in it."""

    def __init__(self, settings: Settings, folder: Path, typed: Typed, file: str, text: str):
        self.settings, self.folder, self.typed = settings, folder, typed
        self.file, self.text = file, text
        self.trains = typed.command[-1] == "train"
        self.gpu = settings.gpu if self.trains else None
        self.cfg = read(file, typed.options)

    @cached_property
    def parcel(self) -> Parcel:
        """What is sent of the working folder."""
        settings = self.settings
        return pack(self.folder, settings.ignore, settings.max_size, settings.mounts)

    def check(self) -> None:
        """Print what is found, what would run, and what it costs. Raises SystemExit on an error."""
        gpus, memory = (self.gpu.count, self.gpu.gb) if self.gpu else (0, None)
        machine = checks.machine_of(gpus, memory, processes_of(self.typed.after))
        machine.image = True
        with _quiet():
            checked = checks.check(
                self.file, machine, options=self.typed.options, also=[self._found]
            )
        checked.config = self.typed.config
        checks.show(checked, machine)
        if not checked.ok:
            raise SystemExit(1)
        for name, said in self._lines():
            click.echo(f"  {name:<9} {said}")

    def _found(self, cfg: Any) -> Iterator[Finding]:
        """What can be wrong in a container, and not in the config alone."""
        mounts = self.settings.mounts
        yield from self.parcel.findings
        yield from check_local(cfg, self.parcel, mounts)
        if self.trains:
            yield from check_output(cfg, mounts)
            yield from check_gpu(cfg, self.gpu)
        elif not cfg.get("skip_prepare_dataset"):
            yield from check_output(cfg, mounts, ("dataset_prepared_path",))
        yield from secrets.check_secrets(cfg, self.settings)

    def _lines(self) -> Iterator[tuple[str, str]]:
        settings = self.settings
        yield "runs", shlex.join(["axolotl", *remote.words(self.job())])
        yield "sends", f"{self.parcel} of {self.folder}"
        yield "image", f"{settings.image}, Axolotl with vLLM, {source()}"
        yield "volumes", ", ".join(f"{name} at {mount}" for mount, name in settings.mounts.items())
        yield "secrets", secrets.described(settings)
        yield "costs", cost(self.gpu, settings.cpu, settings.memory, settings.timeout)

    def job(self) -> remote.Job:
        """What the container is told."""
        typed = self.typed
        return {
            "command": typed.command,
            "config": typed.config,
            "text": self.text,
            "words": typed.words,
            "after": typed.after,
            "output": str(self.cfg.get("output_dir") or "") if self.trains else "",
            "volumes": self.settings.mounts,
            "resume": not (
                self.cfg.get("resume_from_checkpoint")
                or self.cfg.get("auto_resume_from_checkpoints")
            ),
        }

    def go(self) -> int:
        """Do it, and wait for its end. The exit code; 130 after Ctrl-C."""
        app, job, code = modal.App("axolotl-grpo"), self.job(), None
        with in_one_line():
            self._ask_volume(job)
            function = self.function(app)
            try:
                with modal.enable_output(), app.run(detach=self.settings.detach):
                    # The call of .remote() ends with the program that made it; this one need not.
                    code = function.spawn(job).get()
            except KeyboardInterrupt:  # while the image is built; later, app.run() ends quietly
                click.echo("Stopped. Nothing runs.")
            finally:
                self._show_volume()
        return 130 if code is None else code

    def function(self, app: modal.App) -> Any:
        """The remote function: image, GPU, Volumes, Secrets, and remote.run."""
        settings = self.settings
        volumes: Any = {
            mount: modal.Volume.from_name(name, create_if_missing=True)
            for mount, name in settings.mounts.items()
        }
        return app.function(
            image=image_of(settings, self.parcel),
            gpu=self.gpu.modal if self.gpu else None,
            cpu=settings.cpu,
            memory=int(settings.memory * 1024),
            timeout=settings.timeout,
            startup_timeout=STARTUP,
            volumes=volumes,
            secrets=secrets.secrets_of(settings),
            include_source=False,  # the image has this package
        )(remote.run)

    def _ask_volume(self, job: remote.Job) -> None:
        """Whether the output folder lets this run start, as remote.run asks before it trains."""
        place = resume.place_of(job["output"], job["volumes"], str(remote.WORK))
        if not (self.trains and job["resume"] and place):
            return
        volume = modal.Volume.from_name(place.volume, create_if_missing=True)
        try:
            there = [Path(entry.path).name for entry in volume.listdir(place.path)]
        except modal.exception.NotFoundError:
            return  # a new folder
        state = None
        if resume.STATE in there:
            text = b"".join(volume.read_file(f"{place.path}/{resume.STATE}")).decode()
            state = resume.read_state(text, place)
        last = next(iter(newest_first(there)), None)
        last = resume.verdict(place, state, remote.digest(job), last)
        if last:
            click.echo(f"  this run goes on from {last}, or an earlier one if that is incomplete")

    def _show_volume(self) -> None:
        place = resume.place_of(self.job()["output"], self.settings.mounts, str(remote.WORK))
        if self.trains and place:
            click.echo(f"modal volume get {place.volume} {place.path} {self.cfg.output_dir}")


def check_gpu(cfg: Any, gpu: Any) -> Iterator[Finding]:
    """The container has a GPU where vLLM needs one, and one that has the config's number type."""
    mode = mode_of(cfg)
    if gpu is None and mode != "none":
        yield Finding(
            at(cfg, "trl.use_vllm"), "the image's vLLM serves on GPUs", "Set gpu in cloud.yaml"
        )
    if gpu is None or gpu.bf16:
        return
    if cfg.get("bf16") in (True, "full"):
        mend = "Set bf16: false and fp16: true, or another gpu in cloud.yaml"
        yield Finding(at(cfg, "bf16"), f"a {gpu.name} has no bfloat16", mend)
    if mode != "none" and block(cfg, "vllm").get("dtype") in (None, "auto", "bfloat16"):
        mend = "Set vllm.dtype: half, or another gpu in cloud.yaml"
        yield Finding(at(cfg, "vllm.dtype"), f"a {gpu.name} has no bfloat16", mend)


@contextmanager
def _quiet() -> Iterator[None]:
    """Axolotl's own warnings are not shown; what matters is said as a finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

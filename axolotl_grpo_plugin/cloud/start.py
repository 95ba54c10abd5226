"""One start on Modal: checked, shown, done."""

import logging
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import modal

from axolotl_grpo_plugin.cloud import remote, secrets, volume
from axolotl_grpo_plugin.cloud.errors import in_one_line
from axolotl_grpo_plugin.cloud.gpus import cost
from axolotl_grpo_plugin.cloud.image import image_of, source
from axolotl_grpo_plugin.cloud.local import DEFAULTS, check_local, check_output
from axolotl_grpo_plugin.cloud.machine import check_addresses, check_call, check_gpu, check_saving
from axolotl_grpo_plugin.cloud.parcel import Parcel, pack
from axolotl_grpo_plugin.cloud.settings import Settings
from axolotl_grpo_plugin.commands import check as checks
from axolotl_grpo_plugin.config import read_config
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.serving.plan import Call

STARTUP = 1800  # seconds; without it, a container that does not come up takes the whole timeout


class Start:
    """A command in a container.

    command: the words after `axolotl`. call: what else was typed; its config counts from the
    working folder. file: the config, here. text: what is in it.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        command: list[str],
        call: Call,
        file: str,
        text: str,
    ):
        self.settings, self.folder, self.command, self.call = settings, folder, command, call
        self.file, self.text = file, text
        self.trains = command[-1] == "train"
        self.gpu = settings.gpu if self.trains else None
        self.cfg = read_config(file, call.overrides)

    @cached_property
    def parcel(self) -> Parcel:
        """What is sent of the working folder."""
        settings = self.settings
        return pack(self.folder, settings.ignore, settings.max_size, settings.mounts)

    def check(self) -> None:
        """Print what is found, what would run, and what it costs. Raises SystemExit on an error."""
        gpus, memory = (self.gpu.count, self.gpu.gb) if self.gpu else (0, None)
        machine = checks.machine_of(gpus, memory, self.call.processes)
        machine.image = True
        away = set[str]()  # values of the config that are paths on a Volume

        def also(cfg: Any) -> Iterator[Finding]:
            for finding in self._found(cfg):
                if finding.level == "skipped":
                    away.add(_value(finding))
                yield finding

        with _quiet():
            checked = checks.check(self.file, machine, options=self.call.overrides, also=[also])
        checked.config = self.call.config
        # The other checks looked for them on this machine.
        checked.findings = [
            each for each in checked.findings if each.level != "error" or _value(each) not in away
        ]
        checks.show(checked, machine)
        if not checked.ok:
            raise SystemExit(1)
        for name, said in self._lines():
            click.echo(f"  {name:<9} " + said.replace("\n", "\n" + 12 * " "))

    def _found(self, cfg: Any) -> Iterator[Finding]:
        """What can be wrong in a container, and not in the config alone."""
        mounts = self.settings.mounts
        yield from self.parcel.findings
        yield from check_local(cfg, self.parcel, mounts)
        if self.trains:
            yield from check_output(cfg, mounts)
            yield from check_gpu(cfg, self.gpu)
            yield from check_saving(cfg)
            yield from check_call(self.call, cfg)
            yield from check_addresses(cfg)
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
        asks = ("resume_from_checkpoint", "auto_resume_from_checkpoints")
        return {
            "command": self.command,
            "config": self.call.config,
            "text": self.text,
            "words": self.call.typed,
            "after": self.call.after,
            "output": str(self.cfg.get("output_dir") or DEFAULTS["output_dir"]),
            "volumes": self.settings.mounts,
            "resume": not any(self.cfg.get(key) for key in asks),
        }

    def go(self) -> int:
        """Do it, and wait for its end. The exit code; 130 after Ctrl-C."""
        job, running, code = self.job(), None, None
        try:
            with in_one_line():
                if self.trains:
                    volume.ask(job)
                app = modal.App("axolotl-grpo")
                function = self.function(app)
                with modal.enable_output(), app.run(detach=self.settings.detach):
                    # The call of .remote() ends with the program that made it; this one need not.
                    running = function.spawn(job)
                    code = running.get()
            if code:
                click.echo(f"It ended with exit code {code}. The log above says why.")
        except KeyboardInterrupt:  # app.run() lets none through once the function is there
            click.echo("Stopped. Nothing runs.")
        finally:
            if running and self.trains:
                click.echo(volume.fetching(job))
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


def _value(finding: Finding) -> str:
    """What a finding is about, where it says so: `base_model (./outputs/sft)`."""
    return finding.where.rpartition(" (")[2]


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

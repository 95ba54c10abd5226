"""One run on Modal: check it, show it, start it, follow it."""

import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import modal
from aiohttp import ClientError
from grpclib.exceptions import StreamTerminatedError as Terminated
from modal import exception

from axolotl_grpo_plugin.cloud import preflight, remote
from axolotl_grpo_plugin.cloud.image import image_of, source
from axolotl_grpo_plugin.cloud.settings import GPUS, Settings
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.commands import check as checks
from axolotl_grpo_plugin.config import read_config
from axolotl_grpo_plugin.findings import ConfigError, Finding, first_line
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import Call

RETRY = 10.0  # seconds to wait for a result after a lost connection
# Until client 1.4, `modal app logs` had no such option and always followed the log.
FOLLOW = [] if modal.__version__.startswith("1.3.") else ["--follow"]
# Errors of a connection that may come back. The client raises grpclib's own error, too.
LOST = (Terminated, exception.ConnectionError, exception.ServiceError, exception.InternalError)
DOCS = "See https://modal.com/docs or https://status.modal.com"
AGAIN = "The same command continues from the last checkpoint"
# Type of the error, a word of its message, the cause, the fix. The first match counts.
_LINES: tuple[tuple[type[Exception], str, str, str], ...] = (
    (exception.AuthError, "", "there is no valid token here", "Run `modal token new`"),
    (exception.ConnectionError, "", "it does not answer", f"Check your network. {DOCS}"),
    (exception.InvalidError, "gpu", "it refuses this GPU", "Set another gpu in cloud.yaml"),
    (exception.PermissionDeniedError, "", "the token lacks a right", "Ask the workspace's owner"),
    (exception.NotFoundError, "secret", "there is no such Secret", "Run `modal secret create`"),
    (exception.RemoteError, "image build", "the image build failed", "Its log is above"),
    (exception.FunctionTimeoutError, "", "the run reached its timeout", AGAIN),
    (exception.InternalFailure, "", "it lost the container", AGAIN),
    (exception.RemoteError, "", "the container ended (stopped, out of memory or lost)", AGAIN),
    (exception.ResourceExhaustedError, "", "the workspace is at a limit", "See `modal app list`"),
)


class Start:
    """One command in a container. file: a copy of the config, whose path there is call.config."""

    def __init__(self, settings: Settings, command: list[str], call: Call, file: str, text: str):
        self.settings, self.call, self.file = settings, call, file
        self.trains, self.cfg = command[-1] == "train", read_config(file, call.overrides)
        asks = ("resume_from_checkpoint", "auto_resume_from_checkpoints")
        self.job: remote.Job = {
            **{"command": command, "config": call.config, "text": text},
            **{"words": call.typed, "after": call.after, "volumes": settings.mounts},
            "output": str(self.cfg.get("output_dir") or preflight.DEFAULTS["output_dir"]),
            "resume": not any(self.cfg.get(key) for key in asks),
        }
        # A config without vLLM and in full precision, such as quickstart.yaml, trains on the CPU.
        full = self.cfg.get("bf16") is False and not self.cfg.get("fp16")
        self.on_cpu = not self.trains or (full and mode_of(self.cfg) == "none")
        self.gpu = None if self.on_cpu else settings.gpu
        self.upload = pack(Path.cwd(), settings.ignore, settings.mounts)

    def check(self) -> None:
        """Print the findings, the command and its cost. Raises SystemExit on an error."""
        name, _, number = (self.gpu or ":0").partition(":")
        memory = GPUS[name][0] if name in GPUS else None
        machine = checks.machine_of(int(number or 1), memory, self.call.processes)
        machine.image = True
        logging.disable(logging.WARNING)  # Axolotl's own; findings say what matters
        checked = checks.check(self.file, machine, False, self.call.overrides, [self._findings])
        logging.disable(logging.NOTSET)
        checked.config = self.call.config
        # The other checks look on this machine for paths that are on a Volume: drop their errors.
        every = checked.findings
        away = tuple(each.where.rpartition(" ")[2] for each in every if each.level == "skipped")
        checked.findings = [f for f in every if f.level != "error" or not f.where.endswith(away)]
        checks.show(checked, machine)
        if not checked.ok:
            raise SystemExit(1)
        settings = self.settings
        sent = [name for kind, name in settings.secrets if kind != "env" or os.environ.get(name)]
        for name, text in {
            "runs": shlex.join(["axolotl", *remote.words(self.job)]),
            "sends": f"{self.upload} of {self.upload.folder}",
            "image": f"{settings.image}, Axolotl with vLLM, plugin {source()}",
            "volumes": ", ".join(f"{name} at {at}" for at, name in settings.mounts.items()),
            "secrets": ", ".join(sent) or "none",
            "gpu": self.gpu or "none" + ", because this runs on the CPU" * self.on_cpu,
            "costs": settings.cost(self.gpu, settings.retries if self.trains else 0),
        }.items():
            click.echo(f"  {name:<9} " + text.replace("\n", "\n" + 12 * " "))

    def _findings(self, cfg: Any) -> Iterator[Finding]:
        mounts = self.settings.mounts
        yield from self.upload.check(self.settings.max_size)
        yield from preflight.check_strings(cfg, self.upload, mounts)
        yield from preflight.check_secrets(cfg, self.settings)
        prepared = [] if cfg.get("skip_prepare_dataset") else ["dataset_prepared_path"]
        written = ["output_dir", "grpo_rollouts"] if self.trains else prepared
        yield from preflight.check_output(cfg, mounts, *written)
        yield from preflight.check_run(cfg, self.gpu, self.call) if self.trains else ()

    def go(self) -> int:
        """Run it, follow its log to the end, and return the exit code; 130 after Ctrl-C."""
        call = code = None
        app = modal.App(re.sub(r"[^\w.-]+", "-", Path(self.job["output"]).name)[:64])
        try:
            with in_one_line():
                function = self._function(app)
                if self.trains and (last := remote.look(self.job)):
                    click.echo(f"  continues from {last}, or the one before if it is incomplete")
                try:
                    with modal.enable_output(), app.run(detach=self.settings.detach):
                        call = function.spawn(self.job)
                        log = " ".join(["modal app logs", str(app.app_id), *FOLLOW])
                        click.echo(f"Log: {log}    Stop: modal app stop {app.app_id}")
                        try:
                            code = _result(call)
                        except KeyboardInterrupt:
                            code = 130  # Modal's client ends the block without an exception
                            raise
                except (*LOST, OSError):
                    if call is None:
                        raise
                if call and code is None:
                    code = _follow(str(app.app_id), call.object_id)
        except KeyboardInterrupt:
            if call is None:
                raise
            code = 130
        finally:
            if call and code == 130 and self.settings.detach:
                click.echo(f"The run goes on at Modal. Stop it: modal app stop {app.app_id}")
            elif code and code != 130:
                click.echo(f"The run ended with exit code {code}. See the log above.")
            if call and self.trains:
                click.echo(remote.fetch_line(self.job))
        return int(code or 0)

    def _function(self, app: modal.App) -> Any:
        settings, named = self.settings, [text for *_, text in preflight.strings(self.cfg)]
        gym = any(re.match(r"axolotl_grpo_plugin\.(\w+\.)*gym\b", each) for each in named)
        volume = modal.Volume.from_name
        return app.function(
            image=image_of(settings, self.upload, gym),
            gpu=self.gpu,
            cpu=settings.cpu,
            memory=int(settings.memory * 1024),
            timeout=settings.timeout,
            startup_timeout=1800,  # else the start of a container counts as training
            # A run that timed out or broke off starts again in a new container, and continues.
            retries=settings.retries if self.trains else 0,
            single_use_containers=True,
            volumes={at: volume(v, create_if_missing=True) for at, v in settings.mounts.items()},
            secrets=list(_secrets(settings)),
            include_source=False,  # the image has this package
        )(remote.run)


def _secrets(settings: Settings) -> Iterator[modal.Secret]:
    """Yield Modal's Secrets; a missing one is an error before the app exists."""
    names = [name for kind, name in settings.secrets if kind == "env"]
    names += ["AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK"]  # telemetry that is off here is off there
    taken = {name: os.environ[name] for name in names if os.environ.get(name)}
    yield modal.Secret.from_dict({**taken, **settings.env})
    for kind, name in settings.secrets:
        if kind == "modal":
            yield modal.Secret.from_name(name).hydrate()
        elif kind == "dotenv":
            path = Path(name).resolve()
            yield modal.Secret.from_dotenv(path.parent, filename=path.name)


def _result(call: Any, timeout: float | None = None) -> int:
    """Return a call's exit code. Raises ConfigError if the function itself raised."""
    try:
        return int(call.get(timeout=timeout))
    except (*LOST, modal.Error, TimeoutError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        text = f"axolotl-grpo-plugin: the container's function failed ({what}). See the log above."
        raise ConfigError(text) from error


def _follow(app: str, call: str) -> int:
    """Follow a run to its end after the connection is lost."""
    logging.getLogger("asyncio").disabled = True  # the client's own log reader has died
    click.echo("The connection is lost. This command reconnects.")
    while True:
        with suppress(TimeoutError, *LOST):
            return _result(modal.FunctionCall.from_id(call), timeout=RETRY)
        subprocess.run([sys.executable, "-m", "modal", "app", "logs", app, *FOLLOW])  # to its end


@contextmanager
def in_one_line() -> Iterator[None]:
    """End the program with one line for an error of Modal's client or of the network."""
    try:
        yield
    except (exception.Error, Terminated, ClientError, OSError) as error:
        raise ConfigError(f"axolotl-grpo-plugin: Modal: {line(error)}") from error


def line(error: Exception) -> str:
    """Return the cause, the client's own words, and the fix, in one line."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()] or ["None"]
    build = lines[0].startswith("Image build") and len(lines) > 1
    own = " ".join(lines[1:][-3:]) if build else lines[0]  # the reason is below the heading
    own = type(error).__name__ if own == "None" else own.rstrip(".")
    for kind, word, what, fix in _LINES:
        if isinstance(error, kind) and word in str(error).lower():
            return f"{what} ({own}). {fix}."
    return f"{own}. {DOCS}."

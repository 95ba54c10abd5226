"""One run on Modal: check it, show it, start it, follow it."""

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any

import click
import modal
from aiohttp import ClientError
from grpclib.exceptions import StreamTerminatedError as Terminated
from modal import exception

from axolotl_grpo_plugin.cloud import preflight, remote
from axolotl_grpo_plugin.cloud.claims import LOST, check_free, claim
from axolotl_grpo_plugin.cloud.image import image_of, source
from axolotl_grpo_plugin.cloud.settings import GPUS, Settings
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.commands import check as checks
from axolotl_grpo_plugin.config import Config, read_config
from axolotl_grpo_plugin.findings import Finding, FindingError, fault, first_line
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import CommandLine

RETRY = 10.0  # seconds to wait for a result after a lost connection
# Until client 1.4, `modal app logs` had no such option and always followed the log.
FOLLOW = [] if modal.__version__.startswith("1.3.") else ["--follow"]
DOCS = "See https://modal.com/docs or https://status.modal.com"
NO_TELEMETRY = [("env", "AXOLOTL_DO_NOT_TRACK"), ("env", "DO_NOT_TRACK")]
AGAIN = "The same command continues from the last checkpoint"
# Type of the error, and the fix. The first match counts.
_FIXES = (
    (exception.AuthError, "Run `modal token new`"),
    (exception.FunctionTimeoutError, AGAIN),
    (exception.InternalFailure, AGAIN),
    (exception.RemoteError, AGAIN),
)


class Start:
    """One training in a container. file: a copy of the config, whose path there is call.config."""

    def __init__(self, settings: Settings, call: CommandLine, file: str, text: str):
        self.settings = settings
        self.call = call
        self.file = file
        cfg = read_config(file, call.overrides)
        resumes = cfg.resume_from_checkpoint or cfg.auto_resume_from_checkpoints
        self.job = remote.CloudJob(
            call.config,
            text,
            words=call.typed,
            after=call.after,
            output=str(cfg.output_dir or preflight.DEFAULT_OUTPUT),
            volumes=settings.mounts,
            resume=not resumes,
        )
        # A config without vLLM and in full precision, such as quickstart.yaml, trains on the CPU.
        full = cfg.bf16 is False and not cfg.fp16
        on_cpu = full and mode_of(cfg) == "none"
        self.gpu = None if on_cpu else settings.gpu
        self.upload = pack(Path.cwd(), settings.ignore, settings.mounts)
        self.started = False  # whether Modal has the call
        self.signal: int = signal.SIGINT  # the one that interrupted it
        signal.signal(signal.SIGTERM, self._terminate)

    def check(self) -> bool:
        """Print the findings, and the command. Return whether there is no error."""
        name, _, number = (self.gpu or ":0").partition(":")
        machine = checks.machine_of(int(number or 1), GPUS.get(name), self.call.processes)
        machine.image = True
        logging.disable(logging.WARNING)  # Axolotl's own; findings say what matters
        checked = checks.check(self.file, machine, False, self.call.overrides, [self._findings])
        logging.disable(logging.NOTSET)
        checked.config = self.call.config
        # The other checks look on this machine for paths that are on a Volume: drop their errors.
        skipped = [finding for finding in checked.findings if finding.level == "skipped"]
        away = tuple(finding.where.rpartition(" ")[2] for finding in skipped)
        for finding in list(checked.findings):
            if finding.level == "error" and finding.where.endswith(away):
                checked.findings.remove(finding)
        checks.show(checked, machine)
        if checked.ok:
            self._show()
        return checked.ok

    def _show(self) -> None:
        settings = self.settings
        sent = []
        for kind, name in settings.secrets:
            if kind == "env" and not os.environ.get(name):
                name += " (not sent: it is not set here)"
            sent.append(name)
        files = "".join(f"\n{line:>12}" for line in self.upload.largest())
        volumes = [f"{name} at {at}" for at, name in settings.mounts.items()]
        for name, text in {
            "runs": shlex.join(["axolotl-grpo", *self.job.line()]),
            "sends": f"{self.upload} of {self.upload.folder}{files}",
            "image": f"{settings.image}, Axolotl with vLLM, plugin {source()}",
            "volumes": ", ".join(volumes),
            "holds": self.upload.not_sent(),
            "secrets": ", ".join(sent) or "none",
            "gpu": self.gpu or "none, because this runs on the CPU",
        }.items():
            if text:
                click.echo(f"  {name:<9} {text}")

    def _findings(self, cfg: Config) -> Iterator[Finding]:
        mounts = self.settings.mounts
        yield from self.upload.check(self.settings.max_size)
        yield from preflight.check_addresses(cfg)
        yield from preflight.check_paths(cfg, self.upload, mounts)
        yield from preflight.check_secrets(cfg, self.settings)
        yield from preflight.check_output(cfg, mounts)
        yield from preflight.check_run(cfg, self.gpu, self.call)

    def go(self) -> int:
        """Run it, follow its log to the end, and return the exit code; 128 + n after signal n.

        Raises: KeyboardInterrupt if a signal came before Modal had the call.
        """
        name = re.sub(r"[^\w.-]+", "-", Path(self.job.output).name)
        app = modal.App(name[:64])
        try:
            with in_one_line():
                code = self._run(app)
        except KeyboardInterrupt:
            if not self.started:
                raise
            click.echo(f"The run goes on at Modal. {_how_to_follow(app)}")
            return self.interrupted()
        else:
            if code:
                click.echo(f"The run ended with exit code {code}. See the log above.")
            return code
        finally:
            if self.started:
                click.echo(remote.fetch_line(self.job.output, self.job.volumes))

    def interrupted(self) -> int:
        """Return the exit code after Ctrl-C or SIGTERM."""
        return 128 + self.signal

    def _terminate(self, number: int, _: FrameType | None) -> None:
        """End as after Ctrl-C, because Modal's client knows no other way."""
        self.signal = number
        raise KeyboardInterrupt

    def _run(self, app: modal.App) -> int:
        function = self._function(app)
        last = remote.look(self.job)
        assert self.job.place, "preflight.check_output has found it on a Volume"
        check_free(self.job.place)
        if last:
            click.echo(f"  continues from {last}, or the one before if it is incomplete")
        code = None
        interrupted = False
        try:
            with modal.enable_output(), app.run(detach=True):
                call = function.spawn(self.job)
                self.started = True
                click.echo(_how_to_follow(app))
                try:
                    claim(self.job.place, self.job.config, call.object_id)
                    code = _result(call)
                except KeyboardInterrupt:
                    interrupted = True
                    raise
        except (*LOST, OSError):
            if not self.started:
                raise
        # Modal's client ends its block without the exception: after Ctrl-C, and a lost connection.
        if interrupted or not self.started:
            raise KeyboardInterrupt
        if code is None:
            code = _follow(str(app.app_id), call.object_id)
        return code

    def _function(self, app: modal.App) -> Any:
        settings = self.settings
        gym = re.search(r"\baxolotl_grpo_plugin\.(\w+\.)*gym\b", self.job.text)
        volumes: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {}
        for mount, name in settings.mounts.items():
            volumes[mount] = modal.Volume.from_name(name, create_if_missing=True)
        return app.function(
            image=image_of(settings, self.upload, bool(gym)),
            gpu=self.gpu,
            cpu=settings.cpu,
            memory=int(settings.memory * 1024),
            timeout=settings.timeout,
            startup_timeout=1800,  # else the start of a container counts as training
            # A run that timed out or broke off starts again in a new container, and continues.
            retries=settings.retries,
            single_use_containers=True,
            volumes=volumes,
            secrets=list(_secrets(settings)),
            include_source=False,  # the image has this package
        )(remote.run)


def _how_to_follow(app: modal.App) -> str:
    log = " ".join(["modal app logs", str(app.app_id), *FOLLOW])
    return f"Log: {log}    Stop: modal app stop {app.app_id}"


def _secrets(settings: Settings) -> Iterator[modal.Secret]:
    """Yield Modal's Secrets; a missing one is an error before the app exists.

    Telemetry that is off here is off there.
    """
    taken: dict[str, str | None] = {}
    for kind, name in (*settings.secrets, *NO_TELEMETRY):
        if kind == "modal":
            yield modal.Secret.from_name(name).hydrate()
        elif os.environ.get(name):
            taken[name] = os.environ[name]
    yield modal.Secret.from_dict({**taken, **settings.env})


def _result(call: modal.FunctionCall[int], timeout: float | None = None) -> int:
    """Return a call's exit code. Raises: FindingError if the function itself raised."""
    try:
        return int(call.get(timeout=timeout))
    except (*LOST, modal.Error, TimeoutError):
        raise
    except Exception as error:
        what = f"the container's function failed ({type(error).__name__}: {first_line(error)})"
        raise FindingError(fault("remote-error", "Modal", what, "See the log above")) from error


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
        raise FindingError(fault("modal", "Modal", line(error), "")) from error


def line(error: Exception) -> str:
    """Return the client's own words and the fix, in one line."""
    own = " ".join(str(error).split()).rstrip(".")
    if own in ("", "None"):
        own = type(error).__name__
    own = own[-300:]  # the end of a failed build's log has the reason
    for kind, fix in _FIXES:
        if isinstance(error, kind):
            return f"{own}. {fix}."
    return f"{own}. {DOCS}."

"""The address of vLLM's server, and the checks of the server that answers there."""

import os
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, FindingError, fault, warning
from axolotl_grpo_plugin.serving.placement import mode_of

LOCAL = "127.0.0.1"
_PORT = 8000  # Axolotl's default
LOCAL_NAMES = (LOCAL, "localhost")
ALL_NETWORKS = ("0.0.0.0", "::")


def server_address(cfg: Config) -> tuple[str, int]:
    """Return the host and the port that a config's server listens on."""
    port = cfg.vllm.port or cfg.trl.vllm_server_port or _PORT
    return cfg.vllm.host or LOCAL, port


def trainer_address(cfg: Config) -> tuple[str, int]:
    """Return the host and the port that a config's trainer connects to."""
    host, port = server_address(cfg)
    if host in ALL_NETWORKS:
        host = LOCAL
    return cfg.trl.vllm_server_host or host, cfg.trl.vllm_server_port or port


def settle_address(cfg: Config) -> None:
    """Write one host and one port for server and trainer into a raw config in server mode.

    Without this, Axolotl lets the server listen on all networks, although it has no login and can
    load weights. The trainer would also ignore `vllm.port`.
    """
    if mode_of(cfg) != "server":
        return
    host, port = server_address(cfg)
    trainer_host, trainer_port = trainer_address(cfg)
    if not cfg.vllm:
        cfg.raw["vllm"] = {}
    cfg.vllm.raw.update(host=host, port=port)
    cfg.trl.raw.update(vllm_server_host=trainer_host, vllm_server_port=trainer_port)
    # If a proxy answers in vLLM's place, TRL waits forever.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = f"{direct},{trainer_host}".strip(",")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts


def check_address(cfg: Config) -> Iterator[Finding]:
    """Check that server and trainer use the same port, and that the server is not open to all networks."""
    if mode_of(cfg) != "server":
        return
    written = cfg.raw.get("vllm")
    if written and not cfg.vllm:  # the block of a wrong value is empty
        yield fault(
            "no-mapping",
            cfg.at(f"vllm ({written})"),
            "not a mapping",
            "Remove it, or write keys below it",
        )
        return
    host, port = cfg.vllm.host, cfg.vllm.port
    if host in ALL_NETWORKS:
        yield warning(
            "open-to-all",
            cfg.at(f"vllm.host ({host})"),
            "vLLM's server, which has no login, listens on all networks of its machine",
            "Set it to 127.0.0.1. On several nodes, use a private network only",
        )
    trainer_port = cfg.trl.vllm_server_port
    if port and trainer_port not in (None, port) and not _is_elsewhere(cfg):
        yield fault(
            "two-ports",
            cfg.at(f"trl.vllm_server_port ({trainer_port})"),
            f"differs from vllm.port ({port})",
            "Remove it. The trainer then uses vllm.port",
        )


def _is_elsewhere(cfg: Config) -> bool:
    """Return whether the trainer connects to another host than the one that vLLM listens on."""
    host = cfg.trl.vllm_server_host
    return host not in (None, LOCAL, "localhost", *ALL_NETWORKS, cfg.vllm.host)


def check_here(cfg: Config) -> Iterator[Finding]:
    """Check that the trainer will use a server that is started on this machine."""
    # A server on all networks answers at each name of this machine.
    if _is_elsewhere(cfg) and cfg.vllm.host not in ALL_NETWORKS:
        host = cfg.trl.vllm_server_host
        yield Finding(
            cfg.at(f"trl.vllm_server_host ({host})"),
            "the trainer connects to this host, but this command starts vLLM on another one",
            "Remove the key, or start the server on that host and use `axolotl train`",
        )


def reserve(port: int) -> socket.socket:
    """Keep other `axolotl-grpo train` runs from a port until the returned socket is closed.

    While a server boots, its port still looks free. A second vLLM could bind it too, because vLLM
    sets SO_REUSEPORT, and each trainer would reach either server.
    Raises: FindingError if another run has reserved the port.
    """
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0axolotl-grpo-vllm-{port}")  # an abstract name, which ends with the process
    except OSError as error:
        lock.close()
        what = "taken by another `axolotl-grpo train`"
        finding = fault("taken-port", f"vllm.port ({port})", what, "Set another vllm.port")
        raise FindingError(finding) from error
    return lock


class ServerInfo(NamedTuple):
    """The reply of the service at an address.

    models: served models, the base model first; empty if it is not vLLM. lengths: their max_model_len
    in tokens. syncs: it has TRL's weight routes. loads_lora: it loads adapters while it runs.
    """

    models: tuple[str, ...] = ()
    lengths: tuple[int | None, ...] = ()
    syncs: bool = False
    loads_lora: bool = False


def server_info(host: str, port: int, timeout: float = 5) -> ServerInfo | None:
    """Describe the service at http://host:port. None if nothing listens there. timeout: in seconds."""
    if host in ALL_NETWORKS:
        host = LOCAL
    try:
        # No proxy.
        with httpx.Client(
            base_url=f"http://{host}:{port}", timeout=timeout, trust_env=False
        ) as client:
            models = _get(client, "/v1/models").get("data")
            if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
                return ServerInfo()
            routes = _get(client, "/openapi.json").get("paths") or {}
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return None
    return ServerInfo(
        tuple(str(model.get("id")) for model in models),
        tuple(model.get("max_model_len") for model in models),
        "/get_world_size" in routes,
        "/v1/load_lora_adapter" in routes,
    )


def serves(host: str, port: int) -> bool:
    """Return whether a vLLM server with a model answers at http://host:port."""
    info = server_info(host, port)
    return info is not None and bool(info.models)


def _get(client: httpx.Client, path: str) -> dict[str, Any]:
    """Return the JSON object at a path, empty for any other reply."""
    try:
        reply = client.get(path)
        found = reply.json() if reply.status_code == 200 else {}
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def check_free(host: str, port: int) -> Iterator[Finding]:
    """Check that the server can listen at its address."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        where = f"vllm.port ({host}:{port})"
        info = server_info(host, port)
        if info is None:
            yield fault(
                "no-port",
                where,
                f"vLLM cannot listen here: {error.strerror}",
                "Set another vllm.host or vllm.port",
            )
            return
        user = "another service, not vLLM"
        if info.models:
            user = f"a vLLM server of {info.models[0]}"
        fix = "End it, because each run starts its own server, or set another vllm.port"
        yield fault("taken-port", where, f"taken by {user}", fix)


def check_server(cfg: Config) -> Iterator[Finding]:
    """Check that a vLLM server of a validated config's model answers where the trainer will connect."""
    if mode_of(cfg) != "server":
        return
    host, port = trainer_address(cfg)
    where = cfg.at(f"trl.vllm_server_host ({host}:{port})")
    file = cfg.file or "CONFIG"
    fix = f"`axolotl-grpo train {file}` starts vLLM and trains"
    info = server_info(host, port)
    if info is None:
        yield fault("no-server", where, "no vLLM server answers", fix)
    elif not info.models:
        yield fault(
            "another-service",
            where,
            "another service answers, not vLLM",
            f"Set another vllm.port. {fix}",
        )
    else:
        for code, what, first in _mismatches(cfg, info):
            yield fault(code, where, f"the vLLM server {what}", f"{first}. {fix}")


def _mismatches(cfg: Config, info: ServerInfo) -> Iterator[tuple[str, str, str]]:
    """Yield how a vLLM server does not fit a config: a code, the fault, the first step of the fix."""
    model = str(cfg.base_model)
    served, *adapters = info.models
    same_folder = (
        os.path.exists(model) and os.path.exists(served) and os.path.samefile(model, served)
    )
    if model not in info.models and not same_folder:
        yield "other-model", f"serves {served}, not {model}", "End it, or set another vllm.port"
        return
    if adapters:
        what = f"holds adapters of an earlier run ({', '.join(adapters)})"
        yield "old-adapters", what, "End it"
    if not info.syncs:
        what = "takes no weights (a plain `vllm serve`)"
        yield "no-sync", what, "Start it with `axolotl vllm-serve`"
    if cfg.trl.vllm_lora_sync and not info.loads_lora:
        what = "loads no adapters, which trl.vllm_lora_sync needs"
        yield "no-adapters", what, "Start it with `axolotl vllm-serve` on this config"
    wanted = cfg.vllm.max_model_len
    length = info.lengths[0]
    if wanted and length and length < wanted:
        yield "short", f"takes {length} tokens, and vllm.max_model_len is {wanted}", "End it"

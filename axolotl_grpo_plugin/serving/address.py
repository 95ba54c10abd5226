"""The address at which vLLM's server listens and the trainer asks, and who answers there."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from threading import Timer
from typing import Any, NamedTuple

import psutil

from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import ConfigError, Finding, at
from axolotl_grpo_plugin.serving.placement import mode_of

LOCAL = "127.0.0.1"
PORT = 8000  # Axolotl's default
_ANY = ("0.0.0.0", "::", "")
_LARGEST = 16 * 2**20  # bytes of a reply; vLLM's openapi.json has less than one MiB


def settle_address(cfg: Any) -> None:
    """Write one host and port for server and trainer into a raw server-mode config.

    The server has no login and can load weights, and Axolotl would bind it to all networks. Axolotl
    would also ask at `trl.vllm_server_port` whatever `vllm.port` is. A `vllm` key that is no block is
    left alone.
    """
    if mode_of(cfg) != "server" or not isinstance(cfg.get("vllm") or {}, dict):
        return
    if not cfg.get("vllm"):
        cfg["vllm"] = {}
    trl, vllm = cfg["trl"], cfg["vllm"]
    vllm["host"] = vllm.get("host") or LOCAL
    bound = LOCAL if vllm["host"] in _ANY else vllm["host"]
    trl["vllm_server_host"] = trl.get("vllm_server_host") or bound
    port = tokens_of(vllm.get("port")) or tokens_of(trl.get("vllm_server_port")) or PORT
    vllm["port"] = port
    trl["vllm_server_port"] = tokens_of(trl.get("vllm_server_port")) or port
    # A cluster's proxy would answer in vLLM's place, and TRL would ask for ever.
    direct = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    hosts = dict.fromkeys([*filter(None, direct), trl["vllm_server_host"]])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def check_address(cfg: Any) -> Iterator[Finding]:
    """Check that the trainer asks where the server of the same YAML listens."""
    if mode_of(cfg) != "server":
        return
    if not isinstance(cfg.get("vllm") or {}, dict):
        yield Finding(
            at(cfg, f"vllm ({cfg['vllm']})"), "not a block of keys", "Remove it, or write a block"
        )
        return
    host = block(cfg, "vllm").get("host")
    if host in _ANY[:2]:
        yield Finding(
            at(cfg, f"vllm.host ({host})"),
            "vLLM's server, which has no login, listens on all networks of its machine",
            "Set it to 127.0.0.1, or for several nodes to the private address of the first",
            level="warning",
        )
    asked, port = (
        tokens_of(block(cfg, "trl").get("vllm_server_port")),
        block(cfg, "vllm").get("port"),
    )
    if asked and port and tokens_of(port) != asked and not _is_elsewhere(cfg):
        what = f"{asked}, but vLLM listens on vllm.port {port}"
        yield Finding(at(cfg, "trl.vllm_server_port"), what, "Remove it: vllm.port serves for both")


def _is_elsewhere(cfg: Any) -> bool:
    """Return whether the trainer asks another machine than the one that serves."""
    asked, bound = block(cfg, "trl").get("vllm_server_host"), block(cfg, "vllm").get("host")
    return asked not in (None, LOCAL, "localhost", *_ANY, bound)


def check_here(cfg: Any) -> Iterator[Finding]:
    """Check that the trainer asks the server that is started here."""
    if _is_elsewhere(cfg) and block(cfg, "vllm").get("host") not in _ANY:
        host = block(cfg, "trl").get("vllm_server_host")
        what = f"the trainer asks {host}, and would not use a server started here"
        fix = "Remove it, or start the server there and use `axolotl train`"
        yield Finding(at(cfg, "trl.vllm_server_host"), what, fix)


def reserve(port: int) -> socket.socket:
    """Keep other `axolotl grpo train` runs from a port until the result is closed.

    While the server boots, its port still looks free. A second vLLM could then bind it too, because
    vLLM sets SO_REUSEPORT, and each trainer would reach either server.
    Raises ConfigError if another run has the port.
    """
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0axolotl-grpo-vllm-{port}")  # an abstract name, which ends with the process
    except OSError as error:
        held.close()
        what = f"vllm.port ({port}): taken by another `axolotl grpo train`. Set another vllm.port."
        raise ConfigError(f"axolotl-grpo-plugin: {what}") from error
    return held


class Answer(NamedTuple):
    """The service at an address.

    models: served models, the base model first; empty if it is not vLLM. lengths: their max_model_len.
    syncs: it has TRL's weight routes. loads_lora: it loads adapters while it runs.
    """

    models: tuple[str, ...] = ()
    lengths: tuple[int | None, ...] = ()
    syncs: bool = False
    loads_lora: bool = False


def answer(host: str, port: int, patience: float = 5) -> Answer | None:
    """Return who answers at http://host:port, after at most `patience` seconds. None if nobody listens."""
    host = LOCAL if host in _ANY else host
    ends = time.monotonic() + patience
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except OSError:
        return None
    models = _get(host, port, "/v1/models", ends).get("data")
    if not models or not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        return Answer()
    routes = _get(host, port, "/openapi.json", ends).get("paths")
    routes = routes if isinstance(routes, dict) else {}
    return Answer(
        tuple(str(each.get("id")) for each in models),
        tuple(each.get("max_model_len") for each in models),
        "/get_world_size" in routes,
        "/v1/load_lora_adapter" in routes,
    )


def _get(host: str, port: int, path: str, ends: float) -> dict[str, Any]:
    """Return the JSON object at a path, empty if the reply is another. It follows no redirect, and uses no proxy.

    ends: when it gives up, on the monotonic clock. A timeout of the socket alone would start anew with each byte.
    """
    left = max(ends - time.monotonic(), 0.01)
    try:
        with socket.create_connection((host, port), timeout=left) as opened:
            timer = Timer(left, _shut, [opened])
            timer.daemon = True
            timer.start()
            try:
                connection = HTTPConnection(host, port)
                connection.sock = opened
                connection.request("GET", path)
                with connection.getresponse() as response:
                    said = json.loads(response.read(_LARGEST)) if response.status == 200 else {}
            finally:
                timer.cancel()
    except (HTTPException, OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _shut(opened: socket.socket) -> None:
    """End a connection: who reads from it reads its end."""
    with suppress(OSError):  # it has ended
        opened.shutdown(socket.SHUT_RDWR)


def listening(port: int) -> psutil.Process | None:
    """Return this user's process that listens on a port, None if it is not known."""
    for process in psutil.process_iter():
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue  # another user's process, or one that has just ended
        if any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections
        ):
            return process
    return None


def check_free(host: str, port: int) -> Iterator[Finding]:
    """Check that the server's address is free."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        where = f"vllm.port ({host}:{port})"
        there = answer(host, port)
        if there is None:
            yield Finding(
                where, f"cannot be listened on: {error.strerror}", "Set vllm.host and vllm.port"
            )
            return
        by = f"a vLLM server of {there.models[0]}" if there.models else "another service, not vLLM"
        process = listening(port)
        line = f" (process {process.pid}: {' '.join(process.cmdline())[:150]})" if process else ""
        what = f"taken by {by}{line}"
        yield Finding(
            where, what, "End it, because each run starts its own server, or set another vllm.port"
        )


def check_server(cfg: Any) -> Iterator[Finding]:
    """Check that a vLLM server of a validated config's model answers where the trainer asks."""
    if mode_of(cfg) != "server":
        return
    host, port = cfg["trl"]["vllm_server_host"], cfg["trl"]["vllm_server_port"]
    where = at(cfg, f"trl.vllm_server_host ({host}:{port})")
    fix = (
        f"`axolotl grpo train {cfg.get('axolotl_config_path') or 'CONFIG'}` starts vLLM and trains"
    )
    there = answer(host, port)
    if there is None:
        yield Finding(where, "no vLLM server answers", fix)
    elif not there.models:
        yield Finding(where, "another service answers, not vLLM", f"Set another vllm.port; {fix}")
    else:
        yield from _check_answer(cfg, there, where, fix)


def _check_answer(cfg: Any, there: Answer, where: str, fix: str) -> Iterator[Finding]:
    model, lora = cfg.get("base_model"), block(cfg, "trl").get("vllm_lora_sync")
    if not any(_same(model, each) for each in there.models):
        what = f"the vLLM server serves {there.models[0]}, not {model}"
        yield Finding(where, what, f"End it, or set another vllm.port; {fix}")
        return
    if len(there.models) > 1:
        what = f"the vLLM server holds adapters of an earlier run ({', '.join(there.models[1:])})"
        yield Finding(where, what, f"End it; {fix}")
    if not there.syncs:
        what = "the vLLM server takes no weights (a plain `vllm serve`)"
        yield Finding(where, what, f"Start it with `axolotl vllm-serve`; {fix}")
    if lora and not there.loads_lora:
        what = "the vLLM server loads no adapters, which trl.vllm_lora_sync needs"
        yield Finding(where, what, f"Start it with `axolotl vllm-serve` on this config; {fix}")
    wanted, length = block(cfg, "vllm").get("max_model_len"), there.lengths[0]
    if wanted and length and length < wanted:
        what = f"the vLLM server takes {length} tokens, and vllm.max_model_len is {wanted}"
        yield Finding(where, what, f"End it; {fix}")


def _same(model: Any, served: str) -> bool:
    both_here = os.path.exists(str(model)) and os.path.exists(served)
    return served == model or (both_here and os.path.samefile(str(model), served))

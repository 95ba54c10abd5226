"""Where the server listens and the trainer asks: one address for both, and who answers there."""

import json
import os
import socket
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import psutil

from axolotl_grpo_plugin.checks import ConfigError, Finding
from axolotl_grpo_plugin.checks.lengths import tokens_of
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.paths import block
from axolotl_grpo_plugin.serving.placement import mode_of

LOCAL = "127.0.0.1"
PORT = 8000  # Axolotl's, where the YAML sets none
_ANY = ("0.0.0.0", "::", "")


def settle_address(cfg: Any) -> None:
    """Write host and port into a raw server-mode config, the same for server and trainer.

    Axolotl would bind the server, which has no login and can load weights, to all networks, and
    ask at `trl.vllm_server_port` whatever `vllm.port` is. A `vllm` that is no block is left to it.
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
    # A proxy that a cluster sets would answer in vLLM's place, and TRL then asks for ever.
    direct = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    hosts = dict.fromkeys([*filter(None, direct), trl["vllm_server_host"]])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def check_address(cfg: Any) -> Iterator[Finding]:
    """The trainer asks where the server of the same YAML listens."""
    if mode_of(cfg) != "server":
        return
    if not isinstance(cfg.get("vllm") or {}, dict):
        yield Finding(
            at(cfg, f"vllm ({cfg['vllm']})"), "no block of keys", "Remove it, or write one"
        )
        return
    asked, port = (
        tokens_of(block(cfg, "trl").get("vllm_server_port")),
        block(cfg, "vllm").get("port"),
    )
    if asked and port and tokens_of(port) != asked and not _is_elsewhere(cfg):
        what = f"{asked}, but vLLM is to listen on vllm.port {port}"
        yield Finding(
            at(cfg, "trl.vllm_server_port"), what, "Remove it: vllm.port is taken for both"
        )


def _is_elsewhere(cfg: Any) -> bool:
    """Whether the trainer is to ask another machine than the one that a server of this YAML runs on."""
    asked, bound = block(cfg, "trl").get("vllm_server_host"), block(cfg, "vllm").get("host")
    return asked not in (None, LOCAL, "localhost", *_ANY, bound)


def check_here(cfg: Any) -> Iterator[Finding]:
    """A server that is started here is the one that the trainer asks."""
    if _is_elsewhere(cfg) and block(cfg, "vllm").get("host") not in _ANY:
        host = block(cfg, "trl").get("vllm_server_host")
        what = f"the trainer is to ask {host}, and a server started here would not be used"
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
    """Who answers at an address.

    models: what it serves, the base model first, none if it is not vLLM; lengths: their
    max_model_len. syncs: it has TRL's weight routes. loads_lora: it loads adapters while it runs.
    """

    models: tuple[str, ...] = ()
    lengths: tuple[int | None, ...] = ()
    syncs: bool = False
    loads_lora: bool = False


def answer(host: str, port: int, patience: float = 5) -> Answer | None:
    """Ask at http://host:port. None where nobody listens. At most `patience` seconds a question."""
    host = LOCAL if host in _ANY else host
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except OSError:
        return None
    models = _get(f"http://{host}:{port}/v1/models", patience).get("data")
    if not isinstance(models, list) or not models:
        return Answer()
    routes = _get(f"http://{host}:{port}/openapi.json", patience).get("paths") or {}
    return Answer(
        tuple(str(each.get("id")) for each in models),
        tuple(each.get("max_model_len") for each in models),
        "/get_world_size" in routes,
        "/v1/load_lora_adapter" in routes,
    )


def _get(url: str, patience: float) -> dict[str, Any]:
    """The JSON object at an address, empty where another thing answers."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=patience) as response:
            said = json.load(response)
    except (HTTPError, URLError, HTTPException, OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def listening(port: int) -> psutil.Process | None:
    """The process of this user that listens on a port, None if it cannot be known."""
    for process in psutil.process_iter():
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue  # another user's, or it has just ended
        if any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections
        ):
            return process
    return None


def check_free(host: str, port: int) -> Iterator[Finding]:
    """Nobody listens where the server is to."""
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
        what = f"taken, by {by}{line}"
        yield Finding(
            where, what, "End it, for each run starts its own server, or set another vllm.port"
        )


def check_server(cfg: Any) -> Iterator[Finding]:
    """A vLLM server of this config's model answers where the trainer will ask. For validated configs."""
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
        yield Finding(where, "what answers is not vLLM", f"Set another vllm.port; {fix}")
    else:
        yield from _check_answer(cfg, there, where, fix)


def _check_answer(cfg: Any, there: Answer, where: str, fix: str) -> Iterator[Finding]:
    model, lora = cfg.get("base_model"), block(cfg, "trl").get("vllm_lora_sync")
    if not any(_same(model, each) for each in there.models):
        what = f"the vLLM server there serves {there.models[0]}, not {model}"
        yield Finding(where, what, f"End it, or set another vllm.port; {fix}")
        return
    if len(there.models) > 1:
        what = f"the vLLM server there holds adapters of an earlier run ({', '.join(there.models[1:])})"
        yield Finding(where, what, f"End it; {fix}")
    if not there.syncs:
        what = "the vLLM server there takes no weights (a plain `vllm serve`)"
        yield Finding(where, what, f"Start it with `axolotl vllm-serve`; {fix}")
    if lora and not there.loads_lora:
        what = "the vLLM server there loads no adapters, as trl.vllm_lora_sync wants"
        yield Finding(where, what, f"Start it with `axolotl vllm-serve` on this config; {fix}")
    wanted, length = block(cfg, "vllm").get("max_model_len"), there.lengths[0]
    if wanted and length and length < wanted:
        what = f"the vLLM server there takes {length} tokens, vllm.max_model_len says {wanted}"
        yield Finding(where, what, f"End it; {fix}")


def _same(model: Any, served: str) -> bool:
    both_here = os.path.exists(str(model)) and os.path.exists(served)
    return served == model or (both_here and os.path.samefile(str(model), served))

"""OpenEnv's servers as environments. The tools of a server become the model's tools.

OpenEnv has two kinds of servers. One with MCP lists its tools. The others take an action, whose fields are the
arguments of one tool, `step`. The client is OpenEnv's own, which is async since openenv-core 0.3.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, partial, reduce
from inspect import Parameter, Signature
from operator import or_
from typing import Any, Literal
from zlib import crc32

import httpx
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from websockets.exceptions import ConnectionClosedOK, WebSocketException

from axolotl_grpo_plugin.environments.base import Environment, EpisodeLost
from axolotl_grpo_plugin.findings import FindingError, first_line
from axolotl_grpo_plugin.serving.processes import spawn

_KEEP = "import sys; from axolotl_grpo_plugin.serving.processes import keep; keep(sys.argv[1])"
_STEP = "step"  # no tool of an MCP server may have this name
_TOTALS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "last": lambda rewards: rewards[-1],
    "best": max,
}
_LIST = {"type": "mcp", "data": {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}}


class OpenEnv(Environment):
    """Plays episodes on a server.

    An episode is lost, and no reward of it counts, if the connection breaks. The next one connects again.
    Each row gives its own `seed`, unless it has one, so that a prompt group begins alike.

    Args:
        url: the address of a server that runs.
        start: a shell command that starts a server on the port {port}. It is run again when it ends.
        reward: of the rewards of an episode's steps: their "sum", the "last" or the "best".
        seconds: how long to wait for a server that starts, or starts again.
    """

    def __init__(self, url: str = "", start: str = "", reward: str = "sum", seconds: float = 60.0):
        self._url, self._total, self._client = url, _TOTALS[reward], None

    def reset(self, **row: Any) -> str | None:
        self._rewards: list[float] = []
        seed = crc32(json.dumps(row, sort_keys=True, default=str).encode())
        begin = partial(self._ask, "reset", **{"seed": seed, **row})
        try:
            result = begin()
        except EpisodeLost:  # the connection broke after the last episode
            result = begin()
        self.done = bool(result.done)
        text = text_of(result.observation)
        return f"\n\n{text}" if text else None

    def __getattr__(self, name: str) -> Any:
        """Return a tool of the server."""
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._act, name)

    def _act(self, tool: str, /, **arguments: Any) -> str:
        call = {"type": "call_tool", "tool_name": tool, "arguments": arguments}
        result = self._ask("step", arguments if tool == _STEP else call)
        self.done = bool(result.done)
        if result.reward is not None:
            self._rewards.append(float(result.reward))
        seen = result.observation
        if tool == _STEP:
            return text_of(seen)
        if error := seen.get("error"):
            raise ValueError(error["message"])
        answer = seen.get("result")
        if isinstance(answer, dict) and answer.get("is_error"):
            raise ValueError(text_of(answer))
        return text_of(answer)

    def get_reward(self) -> float:
        return self._total(self._rewards) if self._rewards else 0.0

    def _ask(self, what: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            if self._client is None:
                self._client = _connect(self._url)
            return getattr(self._client, what)(*arguments, **keywords)
        except (RuntimeError, OSError, WebSocketException) as error:
            reason = f"the connection to {self._url} broke: {first_line(error)}"
            if isinstance(error, ConnectionClosedOK) or "CAPACITY_REACHED" in str(error):
                reason = (
                    f"{self._url} has no free session, and each completion needs one. "
                    "Raise max_concurrent_envs in the server's create_app"
                )
            elif isinstance(error, RuntimeError):  # the server's own answer
                raise
            self._client = None
            raise EpisodeLost(reason) from error

    @classmethod
    def _ready(
        cls, url: str = "", start: str = "", reward: str = "sum", seconds: float = 60.0
    ) -> type:
        """Return a class with the server's tools. Start the server if there is a command.

        Raises: FindingError if that fails.
        """
        if reward not in _TOTALS:
            what = f"{reward!r} is no way to total the rewards of the steps"
            raise FindingError("grpo_environment_args.reward", what, "Set sum, last or best")
        server, tools = _server(url, start, seconds)
        members = {name: _method(name, *each) for name, each in tools.items()}
        hooks = {"_wait": staticmethod(server.wait), "_found": {"url": server.url, "start": ""}}
        return type(cls.__name__, (cls,), {**members, **hooks})


class _Client(EnvClient[Any, Any, Any]):
    """OpenEnv's client, with plain data in place of an environment's own classes."""

    def _step_payload(self, action: Any) -> Any:
        return action

    def _parse_result(self, payload: Any) -> Any:
        return StepResult(payload["observation"], payload.get("reward"), payload.get("done"))

    def _parse_state(self, payload: Any) -> Any:
        return payload


def _connect(url: str) -> Any:
    client = _Client(base_url=url)
    return client.sync() if hasattr(client, "sync") else client


class _Server:
    """A server that runs, or that this process has started."""

    def __init__(self, url: str, start: str, seconds: float):
        self.url, self._seconds, self._down = url, seconds, False
        self.process = None
        if start:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = str(probe.getsockname()[1])
            self.url = f"http://127.0.0.1:{port}"
            command = [sys.executable, "-c", _KEEP, start.replace("{port}", port)]
            self.process = spawn(command, os.environ, output=sys.__stderr__)
        # OpenEnv's client asks for neither health nor schema.
        self.http = httpx.Client(base_url=self.url, timeout=5.0, trust_env=not start)

    def wait(self) -> bool:
        """Wait until the server answers. Wait only once for a server that does not come back."""
        deadline = time.monotonic() + (0.0 if self._down else self._seconds)
        while True:
            try:
                self._down = self.http.get("/health").is_error
            except httpx.TransportError:
                self._down = True
            if not self._down or time.monotonic() > deadline:
                return not self._down
            time.sleep(0.1)

    def tools(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the description and the JSON schema of each tool."""
        action = self.http.get("/schema").raise_for_status().json()["action"]
        fields = action.get("properties", {})
        if not {"tool_name", "arguments"} <= {*fields}:
            fields.pop("metadata", None)  # each action has it, and no environment reads it
            return {_STEP: (action.get("description", ""), action)}
        client = _connect(self.url)
        listed = client._send_and_receive(_LIST)["data"]["result"]["tools"]
        client.close()
        return {
            each["name"]: (
                each.get("description") or "",
                each.get("inputSchema") or each.get("input_schema") or {},
            )
            for each in listed
        }


@cache
def _server(url: str, start: str, seconds: float) -> tuple[_Server, dict[str, Any]]:
    """Return a server that answers, and its tools. Raises: FindingError."""
    key = "start" if start else "url"
    where = f"grpo_environment_args.{key}"
    if bool(url) == bool(start) or (start and "{port}" not in start):
        what = "neither an address nor a command with {port}, or both"
        raise FindingError(where, what, "Set `url`, or `start` with {port} for the server's port")
    server = _Server(url, start, seconds if start else 0.0)
    fix = "See the command's output above" if start else "Start the server, or correct the address"
    if not server.wait():
        if server.process:
            server.process.terminate()
        raise FindingError(where, f"no OpenEnv server answers at {server.url}/health", fix)
    server._seconds = seconds
    try:
        return server, server.tools()
    except (
        httpx.HTTPError,
        OSError,
        WebSocketException,
        RuntimeError,
        KeyError,
        ValueError,
    ) as error:
        what = f"{server.url} does not tell its tools: {type(error).__name__} {first_line(error)}"
        raise FindingError(where, what, fix) from error


def _method(name: str, description: str, schema: dict[str, Any]) -> Callable[..., Any]:
    """Return a method whose signature and docstring say what a JSON schema says."""
    from transformers.utils.chat_template_utils import parse_google_format_docstring

    said, arguments, _ = parse_google_format_docstring(description)
    parameters = [Parameter("self", Parameter.POSITIONAL_ONLY)]
    lines = [said or name.replace("_", " "), "", "Args:"]
    for key, field in schema.get("properties", {}).items():
        default = Parameter.empty if key in schema.get("required", ()) else field.get("default")
        hint = _hint(field, schema.get("$defs", {}))
        parameters.append(Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=hint))
        text = field.get("description") or (arguments or {}).get(key) or field.get("title") or key
        lines.append(f"    {key}: {' '.join(text.split())}")

    def method(self: Any, /, **arguments: Any) -> Any: ...

    method.__name__ = method.__qualname__ = name
    method.__doc__ = "\n".join(lines)
    method.__annotations__ = {each.name: each.annotation for each in parameters[1:]}
    method.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return method


_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "object": dict}


def _hint(field: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return the type hint for a JSON schema, from which transformers makes a schema again."""
    if "$ref" in field:
        field = definitions[field["$ref"].rpartition("/")[2]]
    kind = field.get("type")
    if values := field.get("enum"):
        return Literal[tuple(values)]
    if several := field.get("anyOf") or (isinstance(kind, list) and [{"type": k} for k in kind]):
        return reduce(or_, (_hint(each, definitions) for each in several))
    if kind == "array":
        return list[_hint(field.get("items", {}), definitions)]  # type: ignore[misc]
    return type(None) if kind == "null" else _TYPES.get(kind or "", Any)


def text_of(value: Any) -> str:
    """Return the text of an observation, or of a tool's result as MCP has it. Other data become JSON."""
    if isinstance(value, dict) and not isinstance(value.get("content"), list):
        value = {key: each for key, each in value.items() if each not in (None, "", [], {})}
        value.pop("metadata", None)
        for key, each in value.items() if len(value) == 1 else ():
            if isinstance(each, str) or key in ("result", "observation"):
                return text_of(each)
    blocks = value["content"] if isinstance(value, dict) and "content" in value else value
    if isinstance(blocks, list) and all(
        isinstance(each, dict) and "type" in each for each in blocks
    ):
        return "\n".join(str(each.get("text") or f"[{each['type']}]") for each in blocks)
    if isinstance(value, str) or not (value or value == 0):
        return value or ""
    return json.dumps(value, ensure_ascii=False)

"""Ask one model of an OpenAI-compatible server many questions at once."""

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

LOG = logging.getLogger(__name__)

_KEPT = 65_536  # replies in memory
_PAUSE = 8.0  # seconds: the longest pause of the openai client between two tries
# Words with which vLLM, SGLang, llama.cpp, TGI and OpenAI refuse a request that is too long.
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window|limit)|maximum (?:allowed )?(?:model |input |prompt )?length"
    r"|(?:prompt|input) is too long|maximum number of tokens|`inputs`",
    re.IGNORECASE,
)


class NoReply(Exception):
    """A failed request. reason: "down", "timeout", "refused", "too_long" or "unreadable"."""

    def __init__(self, reason: str, what: str):
        super().__init__(what)
        self.reason = reason


@dataclass(eq=False)
class Endpoint[Reply]:
    """One model of one server. Replies are kept for the run, connections for one batch only.

    request: a request without its message.
    read: returns the reply that the model's text states, or raises NoReply.
    `rewards.judge` documents the other fields. openai is imported late, because that takes a second.
    """

    base_url: str
    request: dict[str, Any]
    read: Callable[[str], Reply]
    api_key_env: str
    concurrency: int
    timeout: float
    retries: int
    _known: dict[bytes, Reply] = field(default_factory=dict)
    _turns: WeakKeyDictionary[Any, asyncio.Semaphore] = field(default_factory=WeakKeyDictionary)
    _is_out: bool = False

    async def ask(self, messages: Iterable[str]) -> dict[str, Reply | NoReply]:
        """Return the reply to each message. Ask each message once per run, or again after a failure."""
        import openai

        keys = {message: sha256(message.encode()).digest() for message in messages}
        replies: dict[str, Reply | NoReply] = {
            message: self._known[key] for message, key in keys.items() if key in self._known
        }
        new = [message for message in keys if message not in replies]
        if not new:
            return replies
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(loop, asyncio.Semaphore(self.concurrency))
        lost = 0  # requests without an answer since the last answer

        async def ask(message: str) -> None:
            nonlocal lost
            async with turns:
                try:
                    if lost >= max(self.concurrency, 2):  # the others would also wait in vain
                        raise NoReply("down", "not asked, because other requests got no answer")
                    replies[message] = self._known[keys[message]] = await self._ask(client, message)
                    lost = 0
                except NoReply as failure:
                    replies[message] = failure
                    lost = lost + 1 if failure.reason in ("down", "timeout") else 0

        settings = self._settings(openai.DefaultAsyncHttpxClient)
        async with openai.AsyncOpenAI(**settings) as client, asyncio.TaskGroup() as tasks:
            for message in new:
                tasks.create_task(ask(message))
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        self._warn([replies[message] for message in new])
        return replies

    async def _ask(self, client: Any, message: str) -> Reply:
        turns = [{"role": "user", "content": message}]
        body, headers = {**self.request, "messages": turns}, self._headers()
        try:
            # The client limits each read, so a very slow reply would never end.
            async with asyncio.timeout(self.timeout * (self.retries + 1) + _PAUSE * self.retries):
                reply = await client.chat.completions.create(
                    model="", messages=[], extra_body=body, extra_headers=headers
                )
            choice = reply.choices[0]
            text, ended = choice.message.content, choice.finish_reason
            if not isinstance(text, str) or ended == "length":
                raise ValueError(f"finish_reason {ended!r}, text {str(text)[-200:]!r}")
        except Exception as error:
            raise _failure(error) from error
        return self.read(text)

    def _headers(self) -> dict[str, Any]:
        import openai

        key = os.environ.get(self.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):  # the client's error would show the key
            raise RuntimeError(
                f"the API key in the environment variable {self.api_key_env} has a character that no "
                "request can contain. Set the variable to the key alone"
            )
        return {"Authorization": f"Bearer {key}" if key else openai.Omit()}

    def _settings(self, http_client: Callable[..., Any]) -> dict[str, Any]:
        host = urlsplit(self.base_url).hostname or ""
        try:
            is_near = ip_address(host).is_private
        except ValueError:
            is_near = host.split(".")[-1] == "localhost"
        # No proxy for a near host. trust_env=False would also ignore SSL_CERT_FILE.
        mounts = {"http://": None, "https://": None} if is_near else {}
        return {
            "base_url": self.base_url,
            "api_key": "-",  # see _headers
            "timeout": self.timeout,
            "max_retries": self.retries,
            "http_client": http_client(mounts=mounts, follow_redirects=False),
        }

    def _warn(self, replies: list[Reply | NoReply]) -> None:
        """Log one warning per outage. A batch without a failure ends an outage."""
        failures = [each for each in replies if isinstance(each, NoReply)]
        if failures and not self._is_out:
            counts = Counter(each.reason for each in failures).items()
            LOG.warning(
                f"{self.request['model']} at {self.base_url} did not reply to {len(failures)} of "
                f"{len(replies)} requests ({', '.join(f'{reason}: {n}' for reason, n in counts)}); the "
                f"first failure: {failures[0]}. Further failures are not logged until a batch has none"
            )
        self._is_out = bool(failures)

    def ready(self) -> None:
        """Check that the server takes the key and lists the model. Raises: RuntimeError with the fix."""
        import openai

        where, model, headers = f"{self.base_url}/models", self.request["model"], self._headers()
        try:
            with openai.OpenAI(**self._settings(openai.DefaultHttpxClient)) as client:
                served = [str(each.id) for each in client.models.list(extra_headers=headers)]
        except Exception as error:
            fix = f"Start the server of {model}, or set base_url to its address: most end in /v1"
            if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
                fix = f"Put the API key into {self.api_key_env}, or name another variable in api_key_env"
            raise RuntimeError(f"{where} lists no models ({_failure(error)}). {fix}") from error
        if model not in served:
            raise RuntimeError(
                f"{where} does not list the model {model} (it lists: {', '.join(served) or 'none'}). "
                "Set model to one of them"
            )


def _failure(error: Exception) -> NoReply:
    import openai

    if isinstance(error, (TimeoutError, openai.APITimeoutError)):
        return NoReply("timeout", "no answer within the timeout")
    if isinstance(error, openai.APIConnectionError):
        return NoReply("down", repr(error.__cause__))
    if not isinstance(error, openai.APIStatusError):
        return NoReply("unreadable", f"no chat completion: {error!r:.200}")
    status, text = error.status_code, error.response.text
    if status in (408, 409, 429) or status >= 500:
        return NoReply("down", f"HTTP {status}")
    if status in (401, 403):  # the text may show a part of the key
        return NoReply("refused", f"HTTP {status}")
    is_long = status in (400, 413, 422) and _TOO_LONG.search(text[:2000])
    return NoReply("too_long" if is_long else "refused", f"HTTP {status}, {text[:200]!r}")

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

LOG = logging.getLogger(__name__)

_PAUSE = 8.0  # seconds: the longest pause of the openai client between two tries
# Words with which vLLM, SGLang, llama.cpp, TGI and OpenAI refuse a request that is too long.
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window|limit)|maximum (?:allowed )?(?:model |input |prompt )?length"
    r"|(?:prompt|input) is too long|maximum number of tokens|`inputs`",
    re.IGNORECASE,
)


class NoReply(Exception):
    """A failed request.

    Args:
        reason: "down", "timeout", "refused", "too_long" or "unreadable".
        description: The failure, for the log.
    """

    def __init__(self, reason: str, description: str):
        super().__init__(description)
        self.reason = reason


Body = dict[str, Any]  # the JSON object of a request
Replies = dict[str, float | NoReply]


@dataclass(eq=False)
class Endpoint:
    """One model of one server. It keeps replies for the run, and connections for one batch only.

    openai is imported late, because that takes a second.

    Args:
        request: A request without its message.
        read: Returns the score that the model's text states, or raises NoReply.

    `rewards.judge.judge` documents the other arguments.
    """

    base_url: str
    request: Body
    read: Callable[[str], float]
    api_key_env: str
    concurrency: int
    timeout: float
    retries: int
    _known: dict[bytes, float] = field(default_factory=dict)
    _lost: int = 0  # requests without an answer since the last answer
    _is_out: bool = False

    async def ask(self, messages: Iterable[str]) -> Replies:
        """Return the reply to each message. Ask each message once per run, or again after a failure."""
        import openai

        keys = {message: sha256(message.encode()).digest() for message in messages}
        new = [message for message, key in keys.items() if key not in self._known]

        failures: dict[str, NoReply] = {}
        if new:
            self._lost = 0

            # A server may refuse more requests at once.
            turns = asyncio.Semaphore(self.concurrency)
            settings = self._settings(openai.DefaultAsyncHttpxClient)
            async with openai.AsyncOpenAI(**settings) as client:
                results = await asyncio.gather(
                    *(self._try(client, turns, message) for message in new)
                )
            for message, reply in zip(new, results, strict=True):
                if isinstance(reply, NoReply):
                    failures[message] = reply
                else:
                    self._known[keys[message]] = reply
            self._warn([*failures.values()], len(new))

        replies: Replies = {}
        for message, key in keys.items():
            replies[message] = failures.get(message) or self._known[key]
        return replies

    async def _try(self, client: Any, turns: asyncio.Semaphore, message: str) -> float | NoReply:
        async with turns:
            if self._lost >= max(self.concurrency, 2):  # this request would also wait in vain
                return NoReply("down", "not asked, because other requests got no answer")
            try:
                reply = await self._ask(client, message)
            except NoReply as failure:
                # A reply of any other kind shows that the server works.
                is_lost = failure.reason in ("down", "timeout")
                self._lost = self._lost + 1 if is_lost else 0
                return failure

            self._lost = 0
            return reply

    async def _ask(self, client: Any, message: str) -> float:
        body = {**self.request, "messages": [{"role": "user", "content": message}]}
        headers = self._headers()
        try:
            # The client limits each read, so a very slow reply would never end.
            longest = self.timeout * (self.retries + 1) + _PAUSE * self.retries
            async with asyncio.timeout(longest):
                reply = await client.chat.completions.create(
                    model="", messages=[], extra_body=body, extra_headers=headers
                )

            choice = reply.choices[0]
            text = choice.message.content
            if not isinstance(text, str) or choice.finish_reason == "length":
                raise ValueError(f"{choice.finish_reason=}, {text=!s:.200}")
        except Exception as error:
            raise _failure(error) from error
        return self.read(text)

    def _headers(self) -> Body:
        import openai

        key = os.environ.get(self.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):  # the client's error would show the key
            raise RuntimeError(
                f"the API key in the environment variable {self.api_key_env} has a character that no "
                "request can contain. Set the variable to the key alone"
            )
        return {"Authorization": f"Bearer {key}" if key else openai.Omit()}

    def _settings(self, http_client: Callable[..., Any]) -> Body:
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

    def _warn(self, failures: list[NoReply], asked: int) -> None:
        """Log one warning per outage. A batch without a failure ends an outage."""
        if failures and not self._is_out:
            counts = Counter(failure.reason for failure in failures)
            listed = ", ".join(f"{reason}: {counts[reason]}" for reason in counts)
            LOG.warning(
                f"{self.request['model']} at {self.base_url} did not reply to {len(failures)} of {asked} "
                f"requests ({listed}); the first failure: {failures[0]}. Further failures are not logged "
                "until a batch has none"
            )
        self._is_out = bool(failures)

    def ready(self) -> None:
        """Check that the server takes the key and lists the model. Raises: RuntimeError with the fix."""
        import openai

        url = f"{self.base_url}/models"
        model = self.request["model"]
        headers = self._headers()

        try:
            with openai.OpenAI(**self._settings(openai.DefaultHttpxClient)) as client:
                served = [str(listed.id) for listed in client.models.list(extra_headers=headers)]
        except Exception as error:
            fix = f"Start the server of {model}, or set base_url to its address: most end in /v1"
            if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
                fix = f"Put the API key into {self.api_key_env}, or name another variable in api_key_env"
            raise RuntimeError(f"{url} lists no models ({_failure(error)}). {fix}") from error

        if model not in served:
            raise RuntimeError(
                f"{url} does not list the model {model} (it lists: {', '.join(served) or 'none'}). "
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

    status = error.status_code
    text = error.response.text
    if status in (408, 409, 429) or status >= 500:
        return NoReply("down", f"HTTP {status}")
    if status in (401, 403):  # the text may show a part of the key
        return NoReply("refused", f"HTTP {status}")

    reason = "refused"
    if status in (400, 413, 422) and _TOO_LONG.search(text[:2000]):
        reason = "too_long"
    return NoReply(reason, f"HTTP {status}, {text[:200]!r}")

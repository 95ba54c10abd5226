"""Ask an OpenAI-compatible chat endpoint many things at once, and survive what it does."""

import asyncio
import ipaddress
import json
import logging
import os
import random
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import httpx

LOG = logging.getLogger(__name__)

LONGEST_WAIT = 30.0  # seconds, whatever Retry-After says
_KEPT = 65_536  # replies that are remembered
_AGAIN = (408, 409, 425, 429)  # and 5xx: statuses that another try may fix
_JITTER = random.Random()  # its own, for a run's seed is not to be touched
# Statuses of a request that is too long, and the words for it of vLLM, SGLang, llama.cpp, TGI and OpenAI.
_TOO_LONG = (400, 413, 422)
_TOO_LONG_WORDS = re.compile(
    r"context[ _](?:length|size|window|limit)|maximum (?:allowed )?(?:model |input |prompt )?length"
    r"|(?:prompt|input) is too long|maximum number of tokens|`inputs`",
    re.IGNORECASE,
)
# What reading a response that is not of OpenAI's form raises.
_UNLIKE = (ValueError, LookupError, TypeError, RecursionError)


class NoReply(Exception):
    """Why there is none. reason: "down", "timeout", "refused", "too_long" or "unreadable".

    wait: seconds that the server asks for. final: another try would be no use.
    """

    def __init__(self, reason: str, what: str, wait: float = 0.0, final: bool = False):
        super().__init__(what)
        self.reason, self.wait, self.final = reason, wait, final


@dataclass(eq=False)
class Endpoint[Reply]:
    """One model of one server. Nothing is imported or opened before it is asked.

    request: what each request has beside its message. read: makes of the model's text what is
    remembered, or raises NoReply. The others: see `rewards.judge`. What it has read outlives a
    batch; connections do not, so a batch that is cancelled leaves none.
    """

    base_url: str
    request: dict[str, Any]
    read: Callable[[str], Reply]
    api_key_env: str
    concurrency: int
    timeout: float
    retries: int
    backoff: float
    known: OrderedDict[bytes, Reply] = field(default_factory=OrderedDict)
    _turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(
        default_factory=WeakKeyDictionary
    )
    _is_out: bool = False

    async def ask(self, messages: Sequence[str]) -> dict[str, Reply | NoReply]:
        """What is said to each message, each asked once; failures are never remembered."""
        import httpx

        replies: dict[str, Reply | NoReply] = {}
        left: dict[str, bytes] = {}
        for message in dict.fromkeys(messages):
            key = sha256(message.encode()).digest()
            if key in self.known:
                self.known.move_to_end(key)
                replies[message] = self.known[key]
            else:
                left[message] = key
        if not left:
            return replies
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(loop, asyncio.Semaphore(self.concurrency))
        answered = lost = 0

        async def ask(message: str, key: bytes) -> None:
            nonlocal answered, lost
            async with turns:
                if lost > 1:  # the others would wait as long for nothing
                    replies[message] = NoReply("down", "two tried in vain")
                    return
                before = answered
                try:
                    replies[message] = self.known[key] = await self._ask(client, message)
                except NoReply as failure:
                    replies[message] = failure
                    # In all its tries nobody was answered.
                    lost += failure.reason in ("down", "timeout") and answered == before
                    return
            answered, lost = answered + 1, 0
            if len(self.known) > _KEPT:
                self.known.popitem(last=False)

        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            httpx.AsyncClient(timeout=None, limits=unlimited, mounts=self._mounts()) as client,
            asyncio.TaskGroup() as tasks,
        ):
            for message, key in left.items():
                tasks.create_task(ask(message, key))
        self._report([replies[message] for message in left])
        return replies

    async def _ask(self, client: "httpx.AsyncClient", message: str) -> Reply:
        import httpx

        payload = {**self.request, "messages": [{"role": "user", "content": message}]}
        where, headers = f"{self.base_url}/chat/completions", self._headers()
        for attempt in range(self.retries + 1):
            try:
                async with asyncio.timeout(self.timeout):
                    response = await client.post(where, json=payload, headers=headers)
                return self.read(_text(response))
            except TimeoutError:
                failure = NoReply("timeout", f"nothing within {self.timeout:g} s")
            except httpx.RequestError as error:
                failure = NoReply("down", f"{type(error).__name__}: {error}")
            except NoReply as error:
                failure = error
            if failure.final or attempt == self.retries:
                break
            wait = self.backoff * 2**attempt * _JITTER.uniform(0.5, 1.5)
            await asyncio.sleep(min(max(wait, failure.wait), LONGEST_WAIT))
        raise failure

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):  # the HTTP client would say it, key and all
            raise RuntimeError(
                f"the API key in the environment variable {self.api_key_env} has a character that no "
                "request can have. Set it to the key alone"
            )
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _mounts(self) -> "dict[str, None]":
        """Return httpx's `mounts` for this address: no proxy on the way to this machine or a private network."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            is_near = ipaddress.ip_address(host).is_private
        except ValueError:  # a name
            is_near = host == "localhost" or host.endswith(".localhost")
        return {"http://": None, "https://": None} if is_near else {}

    def _report(self, replies: Sequence[Reply | NoReply]) -> None:
        """One warning an outage: from a batch with a failure to the next without."""
        failures = [each for each in replies if isinstance(each, NoReply)]
        if failures and not self._is_out:
            counts = Counter(each.reason for each in failures)
            LOG.warning(
                "%s at %s did not reply to %d of %d requests (%s); the first failure: %s. No more is "
                "said of it until it replies to all of a batch",
                self.request["model"],
                self.base_url,
                len(failures),
                len(replies),
                ", ".join(f"{reason}: {count}" for reason, count in counts.items()),
                failures[0],
            )
        self._is_out = bool(failures)

    def ready(self) -> None:
        """Ask which models are served. RuntimeError, one line with the fix, where this one is not."""
        import httpx

        where, model = f"{self.base_url}/models", self.request["model"]
        headers = self._headers()
        try:
            with httpx.Client(timeout=self.timeout, mounts=self._mounts()) as client:
                response = client.get(where, headers=headers)
        except httpx.RequestError as error:
            raise RuntimeError(
                f"nothing answers at {where} ({type(error).__name__}: {error}). Start the server of "
                f"{model}, or set base_url to where it is"
            ) from error
        status = f"HTTP {response.status_code}"
        if response.status_code in (401, 403):
            raise RuntimeError(
                f"{where} refuses the API key ({status}). Put it into the environment variable "
                f"{self.api_key_env}, or name another with api_key_env"
            )
        try:
            served = [each["id"] for each in response.json()["data"]]
        except _UNLIKE as error:
            raise RuntimeError(
                f"{where} lists no models ({status}). Set base_url to what stands before "
                "/chat/completions: it most often ends in /v1"
            ) from error
        if model not in served:
            listed = ", ".join(map(str, served)) or "none"
            raise RuntimeError(
                f"{where} does not list the model {model} (it lists: {listed}). Set model to one of them"
            )


def _text(response: "httpx.Response") -> str:
    """What the model wrote. Raises NoReply."""
    status = response.status_code
    if status in _AGAIN or status >= 500:
        raise NoReply("down", f"HTTP {status}", wait=_retry_after(response))
    if status in _TOO_LONG and _TOO_LONG_WORDS.search(response.text[:2000]):
        raise NoReply("too_long", f"HTTP {status}, {response.text[:200]!r}", final=True)
    if status != 200:
        # What a server says of a key may hold some of it.
        what = "" if status in (401, 403) else f", {response.text[:200]!r}"
        raise NoReply("refused", f"HTTP {status}{what}", final=True)
    try:
        choice = response.json()["choices"][0]
        content, ended = choice["message"]["content"], choice.get("finish_reason")
    except (*_UNLIKE, AttributeError) as error:
        raise NoReply("unreadable", f"no chat completion: {response.text[:200]!r}") from error
    # At temperature 0 it would write the same again.
    if not isinstance(content, str):
        raise NoReply("unreadable", f"no text: {json.dumps(choice)[:200]}", final=True)
    if ended == "length":
        raise NoReply("unreadable", f"cut off at max_tokens: {content[-200:]!r}", final=True)
    return content


def _retry_after(response: "httpx.Response") -> float:
    """Seconds that the server asks to wait; 0 where it does not say."""
    said = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", said):
        return float(said)
    try:
        return parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, OverflowError):  # no date
        return 0.0

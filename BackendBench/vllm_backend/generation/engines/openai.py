"""Any OpenAI-compatible endpoint, or several of them.

- A vLLM server, known by its metrics, keeps what it computed of a prompt: there a group is ``n`` requests, and each
  sample comes when it is finished. Elsewhere it is one request with ``n`` choices, so that its prompt is computed,
  and paid, once; its samples come together when the slowest is done.
- A server that returns fewer choices than asked for is asked again, and remembered.
- The endpoint with the smallest load gets the next request; how many each gets at a time is learnt (concurrency.py).
- 429, 5xx, silence and broken connections are retried with growing pauses (backoff.py), on whatever endpoint is
  free then. What cannot get better is not retried: a wrong key, a missing model, a prompt too long.
- Load is read from the ``/metrics`` of vLLM servers where they have one, else it is what this client has under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random

import httpx
import structlog

from ..settings import EngineSettings
from . import backoff, chat_api
from .base import (
    Engine,
    EngineConfigError,
    EngineError,
    Pressure,
    Prompt,
    PromptError,
    Sample,
    SamplingParameters,
)
from .concurrency import AdaptiveConcurrency, Ticket
from .fan_out import FanOut
from .prometheus import pressure_of, together

KEY_VARIABLES = ("BACKENDBENCH_API_KEY", "OPENAI_API_KEY")
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 15.0
"""For the list of models: longer than a cold start of a proxy, shorter than a user's patience."""
ATTEMPTS = 8
"""Of one request; with the pauses of backoff.py together about a minute and a half: a server that restarts on a
loaded machine is back, and one that is gone is reported while somebody may still be watching."""
METRICS_SECONDS = 1.0
QUEUEING_LIMIT = 2048.0
"""Requests at a time to a vLLM server: it queues by itself, and the worker's controller reads how much waits."""
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

log = structlog.get_logger()


@dataclass
class Endpoint:
    """One server and what was learnt of it."""

    base: str
    concurrency: AdaptiveConcurrency = field(default_factory=AdaptiveConcurrency)
    most_choices: int = 1 << 30
    """Choices that it returns at most."""
    away_until: float = 0.0
    """It is not asked before this time of ``time.monotonic``."""
    pressure: Pressure | None = None
    """Of the last look at its metrics; None: it publishes none."""


class _Retry(Exception):
    """This attempt failed and the next one may not."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class OpenAIEngine(Engine):
    """See the module's docstring."""

    name = "openai"

    def __init__(self, settings: EngineSettings) -> None:
        if not settings.endpoints:
            raise EngineConfigError("engine openai needs the URL of its server: give --endpoint URL")
        self._settings = settings
        self._endpoints = [
            Endpoint(base) for base in dict.fromkeys(map(chat_api.base_url, settings.endpoints))
        ]
        self.model = settings.model
        self._client: httpx.AsyncClient | None = None
        self._room = asyncio.Condition()
        self._groups: FanOut[list[Sample]] = FanOut()
        self._rng = Random()
        self._running = 0
        self._waiting = 0
        self._metrics: asyncio.Task[None] | None = None
        self._was_ready = False

    async def start(self) -> None:
        """Find every endpoint and the model. A restart is content with one of them."""
        await self.close()
        self._client = make_client(self._settings)
        probes = [probe(self._client, e.base, self._settings.model) for e in self._endpoints]
        results = await asyncio.gather(*probes, return_exceptions=True)
        errors = [r for r in results if isinstance(r, BaseException)]
        if errors and (not self._was_ready or len(errors) == len(results)):
            await self.close()
            raise errors[0]
        models = dict.fromkeys(r for r in results if isinstance(r, str))
        if len(models) > 1:
            await self.close()
            raise EngineConfigError(
                f"the endpoints serve different models: choose one with --model: {', '.join(models)}"
            )
        self.model = next(iter(models))
        self._was_ready = True
        await self._look_at_metrics(self._client, self._endpoints)
        for endpoint in self._endpoints:
            if endpoint.pressure is not None:
                endpoint.concurrency = AdaptiveConcurrency(QUEUEING_LIMIT, QUEUEING_LIMIT)
        self._metrics = asyncio.ensure_future(self._watch_metrics(self._client))
        log.info(
            "engine_ready", engine=self.name, model=self.model, endpoints=[e.base for e in self._endpoints]
        )

    async def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        """See Engine.sample. Raises PromptError, EngineConfigError or EngineError."""
        alone = all(e.pressure is not None for e in self._endpoints)
        most = 1 if alone else max(e.most_choices for e in self._endpoints)
        parts = [
            self._choices(prompt, min(most, n - first), first, parameters)
            for first in range(0, n, min(most, n))
        ]
        async with contextlib.aclosing(self._groups.run(group, parts)) as finished:
            async for samples in finished:
                for sample in samples:
                    yield sample

    async def abort(self, group: str) -> None:
        """Close its connections; a vLLM server then stops working on it."""
        await self._groups.abort(group)

    def pressure(self) -> Pressure:
        """Of the servers where they tell, else of this client."""
        known = [e.pressure for e in self._endpoints]
        if all(p is not None for p in known):
            servers = together(p for p in known if p is not None)
            return Pressure(
                servers.running, servers.waiting + self._waiting, servers.kv_cache_usage, servers.preemptions
            )
        return Pressure(self._running, self._waiting)

    async def close(self) -> None:
        """End every request and connection."""
        if self._metrics is not None:
            self._metrics.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._metrics
            self._metrics = None
        await self._groups.abort_all()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # -- one request -----------------------------------------------------------------------------------
    async def _choices(
        self, prompt: Prompt, n: int, first: int, parameters: SamplingParameters
    ) -> list[Sample]:
        """``n`` samples numbered from ``first``, however many requests that takes."""
        found: list[Sample] = []
        while len(found) < n:
            found += await self._patiently(prompt, n - len(found), first + len(found), parameters)
        return found

    async def _patiently(
        self, prompt: Prompt, n: int, first: int, parameters: SamplingParameters
    ) -> list[Sample]:
        """One request with its retries; at least one sample."""
        limit_tokens, reason = True, ""
        for attempt in range(1, ATTEMPTS + 1):
            endpoint, ticket = await self._place(n)
            try:
                asked = min(n, endpoint.most_choices)
                body = chat_api.request_body(
                    self.model, prompt, asked, first, parameters, limit_tokens=limit_tokens
                )
                samples = await self._ask(endpoint, ticket, body, first, asked)
                if len(samples) < asked:
                    endpoint.most_choices = len(samples)
                return samples
            except _TooManyTokens as error:
                if not limit_tokens:
                    raise PromptError(str(error)) from None
                limit_tokens = False
                continue
            except _Retry as error:
                reason = f"{endpoint.base}: {error}"
                wait = backoff.pause(attempt, self._rng, error.retry_after)
                endpoint.away_until = max(endpoint.away_until, time.monotonic() + wait)
                log.warning("request_retried", endpoint=endpoint.base, attempt=attempt, reason=str(error))
            finally:
                self._running -= n
                async with self._room:
                    self._room.notify_all()
        raise EngineError(f"gave up after {ATTEMPTS} attempts; {reason}")

    async def _place(self, n: int) -> tuple[Endpoint, Ticket]:
        """The least loaded endpoint, as soon as one has room."""
        self._waiting += n
        try:
            async with self._room:
                while True:
                    now = time.monotonic()
                    free = [e for e in self._endpoints if e.concurrency.room and e.away_until <= now]
                    if free:
                        chosen = min(free, key=lambda e: e.concurrency.load)
                        self._running += n
                        return chosen, chosen.concurrency.start()
                    away = [e.away_until - now for e in self._endpoints if e.away_until > now]
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._room.wait(), min(away, default=None))
        finally:
            self._waiting -= n

    async def _ask(
        self, endpoint: Endpoint, ticket: Ticket, body: dict[str, object], first: int, asked: int
    ) -> list[Sample]:
        """One HTTP request. Settles the ticket, whatever happens."""
        law = endpoint.concurrency
        settle = law.dropped
        try:
            if self._client is None:
                raise EngineError("the engine is closed")
            reply = await self._client.post(f"{endpoint.base}/chat/completions", json=body)
            if reply.status_code == 200:
                samples = chat_api.samples_of(reply.content, first, asked)
                settle = law.succeeded
                return samples
            raise self._refusal(endpoint, reply, int(str(body.get("n", 1))))
        except (httpx.TransportError, chat_api.MalformedReply) as error:
            settle = law.overloaded
            raise _Retry(f"{type(error).__name__}: {error}") from error
        except _Retry:
            settle = law.overloaded
            raise
        finally:
            settle(ticket)

    def _refusal(self, endpoint: Endpoint, reply: httpx.Response, n: int) -> Exception:
        """What an answer other than 200 means."""
        code, text = reply.status_code, chat_api.error_text(reply.content)
        if code in RETRIED or code >= 500:
            after = backoff.parse_retry_after(reply.headers.get("retry-after"), time.time())
            return _Retry(f"HTTP {code}: {text}", after)
        if code in (401, 403):
            return EngineConfigError(_bad_key(endpoint.base, text))
        if code == 404:
            return EngineConfigError(f"{endpoint.base} does not know {self.model!r} any more: {text}")
        if chat_api.about_length(text):
            return _TooManyTokens(f"{endpoint.base}: {text}")
        if n > 1 and endpoint.most_choices > 1:
            endpoint.most_choices = 1  # some servers refuse n instead of ignoring it
            return _Retry(f"HTTP {code} for {n} choices, trying one at a time: {text}", 0.0)
        return PromptError(f"{endpoint.base} refuses the prompt: HTTP {code}: {text}")

    async def _watch_metrics(self, client: httpx.AsyncClient) -> None:
        """Read the load of every server that publishes it, once a second."""
        while watched := [e for e in self._endpoints if e.pressure is not None]:
            await asyncio.sleep(METRICS_SECONDS)
            await self._look_at_metrics(client, watched)

    async def _look_at_metrics(self, client: httpx.AsyncClient, endpoints: list[Endpoint]) -> None:
        """One look. A server that does not answer keeps what was known of it."""

        async def look(endpoint: Endpoint) -> None:
            with contextlib.suppress(httpx.HTTPError):
                reply = await client.get(chat_api.metrics_url(endpoint.base), timeout=PROBE_SECONDS)
                endpoint.pressure = pressure_of(reply.text) if reply.status_code == 200 else None

        await asyncio.gather(*(look(endpoint) for endpoint in endpoints))


class _TooManyTokens(Exception):
    """Prompt and ``max_tokens`` together are more than the model's context."""


def api_key(settings: EngineSettings) -> str:
    """The key of the settings, else of the environment, else ''."""
    return settings.api_key or next((os.environ[v] for v in KEY_VARIABLES if os.environ.get(v)), "")


def make_client(settings: EngineSettings) -> httpx.AsyncClient:
    """A client with the key in its headers, and no limit of its own on connections."""
    key = api_key(settings)
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(settings.request_seconds, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        follow_redirects=True,
    )


async def probe(client: httpx.AsyncClient, base: str, wanted: str) -> str:
    """The model to ask this endpoint for. Raises EngineConfigError with what is wrong."""
    try:
        reply = await client.get(f"{base}/models", timeout=PROBE_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise EngineConfigError(
            f"nothing answers at {base}: start the server or give another --endpoint ({why})"
        ) from None
    if reply.status_code in (401, 403):
        raise EngineConfigError(_bad_key(base, chat_api.error_text(reply.content)))
    if reply.status_code >= 500:
        raise EngineConfigError(
            f"{base} is not ready: HTTP {reply.status_code}: {chat_api.error_text(reply.content)}"
        )
    served = chat_api.served_models(reply.content) if reply.status_code == 200 else None
    if served is None and not wanted:
        raise EngineConfigError(
            f"{base} is no OpenAI-compatible API (HTTP {reply.status_code} for /models): is the path right?"
        )
    return chat_api.choose_model(wanted, served, base)


def check_endpoints(settings: EngineSettings) -> list[str]:
    """Probe every endpoint, before anything is started. Raises EngineConfigError."""

    async def check() -> list[str]:
        engine = OpenAIEngine(settings)
        async with make_client(settings) as client:
            bases = [e.base for e in engine._endpoints]
            models = await asyncio.gather(*(probe(client, base, settings.model) for base in bases))
        return [f"model {model} at {base}" for model, base in zip(models, bases, strict=True)]

    return asyncio.run(check())


def _bad_key(base: str, text: str) -> str:
    return f"{base} refuses the API key: set {KEY_VARIABLES[0]} ({text})"

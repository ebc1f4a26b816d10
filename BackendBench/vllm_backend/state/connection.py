"""Clients of Redis that survive a short outage, and errors that say in one line what to do.

- ``connect`` and ``connect_async`` do no I/O; ``check_writable`` says whether a server is fit for the farm.
- A command is repeated with growing pauses for about eight seconds: a restarted Redis is not noticed. Every
  script of the farm is safe to repeat.
- No password ever stands in a message: ``shown`` hides it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.retry import Retry

URL_VARIABLE = "BACKENDBENCH_REDIS_URL"
"""Environment variable with the URL to use when none is given."""
DEFAULT_URL = "redis://localhost:6379/0"

RETRIES = 9
"""With the back-off below: 0.05, 0.1, ... 2, 2 seconds, together 6 to 9: longer than a restart takes."""
BACKOFF_BASE_SECONDS = 0.05
BACKOFF_CAP_SECONDS = 2.0
CONNECT_SECONDS = 3.0
"""A machine of the same data centre answers in milliseconds; a dropped packet is repeated after a second."""
SOCKET_SECONDS = 15.0
"""Longest silence of a live connection: above the longest script and a slow fsync."""
CHECK_SECONDS = 5.0
"""Longest silence in ``check_writable``: a user waits for it, and a server that speaks no TLS says nothing."""
HEALTH_CHECK_SECONDS = 15
"""An idle connection is tested before its next use, so that a dead one costs a reconnect, not a command."""


class RedisUnreachable(Exception):
    """Nothing answers there, or it does not let us in. One line that says what and what to do."""


class RedisReadOnly(Exception):
    """It answers but takes no writes. One line that says what and what to do."""


def redis_url(
    host: str = "localhost",
    port: int = 6379,
    *,
    password: str | None = None,
    username: str | None = None,
    tls: bool = False,
    db: int = 0,
) -> str:
    """The URL of these parts; ``tls`` chooses ``rediss://``."""
    credentials = f"{quote(username or '', safe='')}:{quote(password, safe='')}@" if password else ""
    name = f"[{host}]" if ":" in host else host
    return f"{'rediss' if tls else 'redis'}://{credentials}{name}:{port}/{db}"


def shown(url: str) -> str:
    """The URL without its password, for messages and logs."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@", 1) if parts.password else url


def connect(url: str, *, retries: int = RETRIES, **options: Any) -> redis.Redis:
    """A sync, thread-safe client, decoded replies. ``options`` are redis-py's, for example ``ssl_ca_certs``.

    Raises RedisUnreachable when the URL itself makes no sense.
    """
    retry = Retry(EqualJitterBackoff(cap=BACKOFF_CAP_SECONDS, base=BACKOFF_BASE_SECONDS), retries)
    try:
        return redis.Redis.from_url(url, retry=retry, **_options(options))
    except ValueError as error:
        raise _bad_url(url, error) from error


def connect_async(url: str, *, retries: int = RETRIES, **options: Any) -> redis.asyncio.Redis:
    """The same for asyncio. Close it with ``await client.aclose()``."""
    retry = AsyncRetry(EqualJitterBackoff(cap=BACKOFF_CAP_SECONDS, base=BACKOFF_BASE_SECONDS), retries)
    try:
        return redis.asyncio.Redis.from_url(url, retry=retry, **_options(options))
    except ValueError as error:
        raise _bad_url(url, error) from error


def check_writable(url: str) -> None:
    """Return when this Redis answers and takes writes; within seconds, without the long back-off.

    Raises RedisUnreachable or RedisReadOnly.
    """
    client = connect(url, retries=0, socket_timeout=CHECK_SECONDS)
    try:
        with typed_errors(url):
            client.ping()
            # A write that leaves nothing behind; the farm's prefix, so that an ACL by key pattern counts.
            key = f"kernel:check:{uuid.uuid4().hex}"
            client.set(key, "1", px=1000)
            client.delete(key)
    finally:
        client.close()


@contextmanager
def typed_errors(url: str) -> Iterator[None]:
    """Turn redis-py's errors about the server (not about a command) into the two of this module."""
    try:
        yield
    except redis.RedisError as error:
        typed = explain(error, url)
        if typed is None:
            raise
        raise typed from error


def explain(error: redis.RedisError, url: str) -> RedisUnreachable | RedisReadOnly | None:
    """The typed error for one of redis-py's, or None when it is about something else."""
    text = " ".join(str(error).split())
    where = shown(url)
    if isinstance(error, ReadOnlyError):
        return RedisReadOnly(f"Redis at {where} is a read-only replica: give the address of its primary")
    if isinstance(error, NoPermissionError):
        return RedisReadOnly(
            f"Redis at {where} does not let this user write: give a user with write rights ({text})"
        )
    if isinstance(error, OutOfMemoryError) or text.startswith(("NOREPLICAS", "MISCONF")):
        return RedisReadOnly(f"Redis at {where} refuses writes: mend the server or give another one ({text})")
    if isinstance(error, AuthenticationError | AuthorizationError) or text.startswith(
        ("NOAUTH", "WRONGPASS")
    ):
        return RedisUnreachable(
            f"Redis at {where} refuses the login: give --redis-url redis://:PASSWORD@HOST:PORT ({text})"
        )
    if isinstance(error, InvalidResponse):
        return RedisUnreachable(
            f"what answers at {where} is no Redis: give another --redis-host or --redis-port"
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return RedisUnreachable(
            f"Redis at {where} does not answer: start redis-server or give another --redis-host ({text})"
        )
    return None


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "encoding_errors": "replace",
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": SOCKET_SECONDS,
        "socket_keepalive": True,
        **options,
    }


def _bad_url(url: str, error: ValueError) -> RedisUnreachable:
    return RedisUnreachable(
        f"{shown(url)!r} is no Redis URL: write redis://HOST:PORT/DB, rediss:// for TLS ({error})"
    )

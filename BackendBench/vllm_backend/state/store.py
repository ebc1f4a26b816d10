"""The kernel store: every kernel ever judged, and what is known of each operation. Reading only.

- Writing is ``commit.commit_verdict`` alone; counters here are what that script kept, nothing is recomputed.
- Text of Redis becomes typed values in one place, ``_typed``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import redis

from .connection import DEFAULT_URL, URL_VARIABLE, connect, redis_url
from .keys import Keys

_INTEGERS = frozenset({"cases_passed", "cases_total", "tokens", "feedback_version", "feedback_lag"})
_NUMBERS = frozenset(
    {"speedup", "speedup_low", "speedup_high", "timestamp", "generation_seconds", "gpu_seconds"}
)
_FLAGS = frozenset({"correct", "faster_than_eager"})
_JSON = frozenset({"timings", "stage_seconds", "versions", "conditions", "parents"})


class KernelStore:
    """What the farm has found. Thread-safe.

    ``KernelStore()`` uses the environment variable BACKENDBENCH_REDIS_URL, else redis://localhost:6379.
    Methods raise redis-py's errors when Redis fails (``connection.typed_errors`` makes one line of them).
    """

    def __init__(
        self,
        url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        client: redis.Redis | None = None,
    ) -> None:
        if client is None:
            if url is None and (host or port):
                url = redis_url(host or "localhost", port or 6379)
            client = connect(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self._client = client

    def operations(self) -> list[str]:
        """Names of all operations for which something was ever asked, sorted."""
        return sorted(self._client.smembers(Keys.OPERATIONS))  # type: ignore[type-var, arg-type]

    def get_operation_stats(self, operation: str) -> dict[str, Any]:
        """Counters over all runs; zeros for an operation of which nothing is known.

        ``total_attempts`` kernels judged, ``successful_attempts`` of them correct, ``success_rate`` 0..1,
        ``best_speedup`` and ``avg_speedup`` over the correct and timed ones (0 when there is none),
        ``faster_than_eager`` kernels whose whole interval lies above 1, ``generated`` samples of which
        ``duplicates`` and ``unusable`` were not judged, ``tokens``, ``generation_seconds`` and ``gpu_seconds``
        that they cost, ``errors`` (error class to count) and ``unusable_reasons``, largest first.
        """
        raw: dict[str, str] = self._client.hgetall(Keys.op_stats(operation))  # type: ignore[assignment]
        counts = {name: float(value) for name, value in raw.items() if name != "best_hash"}
        total, successful = int(counts.get("total", 0)), int(counts.get("successful", 0))
        return {
            "total_attempts": total,
            "successful_attempts": successful,
            "success_rate": successful / total if total else 0.0,
            "best_speedup": counts.get("best_speedup", 0.0),
            "avg_speedup": counts.get("avg_speedup", 0.0),
            "best_hash": raw.get("best_hash", ""),
            "faster_than_eager": int(counts.get("faster", 0)),
            "generated": int(counts.get("generated", 0)),
            "queued": int(counts.get("queued", 0)),
            "duplicates": int(counts.get("duplicates", 0)),
            "unusable": int(counts.get("unusable", 0)),
            "tokens": int(counts.get("tokens", 0)),
            "generation_seconds": counts.get("generation_seconds", 0.0),
            "gpu_seconds": counts.get("gpu_seconds", 0.0),
            "errors": counts_of(raw, "error:"),
            "unusable_reasons": counts_of(raw, "unusable:"),
        }

    def get_best_kernels(self, operation: str, limit: int = 5) -> list[dict[str, Any]]:
        """Correct kernels, best speedup first; those that were not timed (speedup 0) come last.

        Each has hash, speedup, code and everything else that the verdict said.
        """
        if limit <= 0:
            return []
        hashes = self._client.zrevrange(Keys.best(operation), 0, limit - 1)
        return self._kernels(operation, hashes)  # type: ignore[arg-type]

    def get_kernel(self, operation: str, hash: str) -> dict[str, Any] | None:
        """One kernel, or None when no such hash was judged."""
        found = self._kernels(operation, [hash])
        return found[0] if found else None

    def failures(self, operation: str, limit: int = 64) -> list[dict[str, Any]]:
        """Rejected kernels, most recent first; the last 64 are remembered here, all stay in ``kernels``."""
        if limit <= 0:
            return []
        hashes = self._client.lrange(Keys.failures(operation), 0, limit - 1)
        return self._kernels(operation, hashes)  # type: ignore[arg-type]

    def kernels(self, operation: str) -> list[dict[str, Any]]:
        """Every judged kernel of an operation, oldest first."""
        hashes: set[str] = self._client.smembers(Keys.op_kernels(operation))  # type: ignore[assignment]
        return sorted(self._kernels(operation, hashes), key=lambda kernel: kernel["timestamp"])

    def feedback_version(self, operation: str) -> int:
        """How many verdicts of the operation exist; grows with every commit."""
        return int(self._client.get(Keys.feedback_version(operation)) or 0)  # type: ignore[arg-type]

    def set_operation_source(self, operation: str, source: str) -> None:
        """Keep the file of a user's own operation, so that workers on other machines can load it."""
        self._client.set(Keys.operation_source(operation), source)

    def operation_source(self, operation: str) -> str | None:
        """Text of the file of a user's own operation, or None."""
        return self._client.get(Keys.operation_source(operation))  # type: ignore[return-value]

    def _kernels(self, operation: str, hashes: Iterable[str]) -> list[dict[str, Any]]:
        wanted = list(hashes)
        pipeline = self._client.pipeline(transaction=False)
        for hash in wanted:
            pipeline.hgetall(Keys.kernel(operation, hash))
        found = zip(wanted, pipeline.execute(), strict=True)
        return [
            {"hash": hash, "operation": operation, **{name: _typed(name, text) for name, text in raw.items()}}
            for hash, raw in found
            if raw
        ]


def counts_of(raw: dict[str, str], prefix: str) -> dict[str, int]:
    """Counters of the fields that begin with ``prefix``, without it, largest first."""
    found = {name[len(prefix) :]: int(value) for name, value in raw.items() if name.startswith(prefix)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _typed(name: str, text: str) -> Any:
    if name in _NUMBERS:
        return float(text)
    if name in _INTEGERS:
        return int(text)
    if name in _FLAGS:
        return text == "True"
    if name in _JSON:
        return json.loads(text)
    return text

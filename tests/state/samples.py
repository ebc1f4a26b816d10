"""Tasks and verdicts for the tests of Redis, and an asynchronous client for the length of one call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis
import redis.asyncio

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.connection import connect_async
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.intake import request_group, submit_candidate
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import ReliableQueue
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask
from BackendBench.vllm_backend.state.verdict import Verdict

T = TypeVar("T")


def group(id: str = "r/relu/0", *, run: str = "r", operation: str = "relu", n: int = 4) -> GenerationTask:
    """A group of ``n`` candidates."""
    return GenerationTask(
        id=id,
        run=run,
        operation=operation,
        n=n,
        dsl="numba",
        target="cpu",
        policy="reprompt",
        temperature=0.8,
        top_p=0.95,
    )


def digest(code: str) -> str:
    """Any 64 hexadecimal digits that follow from ``code``."""
    return hashlib.sha256(code.encode()).hexdigest()


def candidate(
    id: str = "r/relu/0:0", *, code: str = "x = 1", run: str = "r", operation: str = "relu", **more: Any
) -> EvaluationTask:
    """A candidate; the same code has the same hash."""
    return EvaluationTask(
        id=id, run=run, operation=operation, code=code, hash=digest(code), dsl="numba", target="cpu", **more
    )


def accepted(task: EvaluationTask, speedup: float = 2.0, low: float | None = None, **more: Any) -> Verdict:
    """It is correct and ``speedup`` times as fast as eager."""
    return Verdict(
        task_id=task.id, run=task.run, operation=task.operation, hash=task.hash, correct=True, speedup=speedup,
        speedup_low=speedup if low is None else low, speedup_high=speedup, worker="w", **more,
    )  # fmt: skip


def rejected(task: EvaluationTask, kind: ErrorType = ErrorType.WRONG_VALUES, **more: Any) -> Verdict:
    """It is not correct."""
    more.setdefault("error", "off by one")
    return Verdict(
        task_id=task.id, run=task.run, operation=task.operation, hash=task.hash, correct=False,
        error_type=kind, worker="w", **more,
    )  # fmt: skip


def request(client: redis.Redis, *tasks: GenerationTask) -> None:
    """Queue groups."""
    for task in tasks:
        assert scripts.run(client, request_group(task))


def submit(client: redis.Redis, *tasks: EvaluationTask) -> list[str]:
    """Hand candidates in; what became of each."""
    return [scripts.run(client, submit_candidate(task)) for task in tasks]


def with_queue(
    url: str,
    use: Callable[[ReliableQueue[EvaluationTask]], Awaitable[T]],
    worker: str = "w",
    kind: type[Any] = EvaluationTask,
    **settings: Any,
) -> T:
    """What ``use`` returns, given the queue as ``worker`` sees it."""

    async def work() -> T:
        client = connect_async(url)
        try:
            return await use(ReliableQueue(client, kind, worker, **settings))
        finally:
            await client.aclose()

    return asyncio.run(work())


def claim(url: str, n: int = 1, worker: str = "w", **settings: Any) -> list[EvaluationTask]:
    """Tasks that ``worker`` takes from eval_queue."""
    batch = with_queue(url, lambda queue: queue.claim(n), worker, **settings)
    return [claimed.task for claimed in batch.tasks]


def lose_lease(client: redis.Redis, id: str, queue: str = Keys.EVAL_QUEUE) -> None:
    """The lease of a task ended long ago, as after a silence of its holder."""
    assert client.zadd(Keys.lease(queue), {id: 1}, xx=True, ch=True) == 1


def snapshot(client: redis.Redis) -> dict[str, Any]:
    """Everything that the database holds, readable; expiries and the ids in streams left out."""
    read: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "hash": client.hgetall,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "stream": lambda key: [fields for _, fields in client.xrange(key)],  # type: ignore[union-attr]
    }
    return {key: read[str(client.type(key))](key) for key in sorted(client.scan_iter())}

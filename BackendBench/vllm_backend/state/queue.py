"""The reliable queue: no claimed task is lost, and a task that kills its workers does not circulate for ever.

- A task is in at most one place: the list, or the claims. Every move is one atomic script.
- A claim is a lease. Its holder extends it (``heartbeat``); a silent holder loses it, and the next ``claim``
  of anybody puts the task back at the head first. Leases run on the clock of Redis, not of the workers.
- Each claim counts as an attempt. What ends in a commit forgets it, a ``release`` takes it back. A task whose
  attempts are used up comes back as ``exhausted``: its claimer records it as ``killed_worker``, and does not
  run it.
- An infrastructure fault (``release(..., fault=True)``) never counts as an attempt. It has a cap of its own;
  above it a candidate is parked, a group is finished short.
- What is no task is moved to ``malformed:{queue}``, never dropped silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import redis
import redis.asyncio
from pydantic import ValidationError

from . import scripts
from .intake import finish_group
from .keys import Keys
from .scripts import Arg, ScriptCall
from .task import EvaluationTask, GenerationTask

TaskT = TypeVar("TaskT", bound=EvaluationTask | GenerationTask)
ReleaseOutcome = Literal["requeued", "abandoned", "lost"]

MAX_FAULTS = 5
"""Infrastructure faults of one task before it is set aside: enough for a driver reset or a restarted engine,
few enough that a broken machine is noticed within minutes."""
MALFORMED_CAP = 100
"""Entries that are no task: enough to see what somebody pushed by mistake."""
POLL_FIRST_SECONDS = 0.005
"""First pause while a queue is empty: shorter than any evaluation, so an arriving task hardly waits."""
POLL_LAST_SECONDS = 0.2
"""Longest pause: an idle worker costs Redis five tiny scripts a second."""


@dataclass(frozen=True)
class Claimed(Generic[TaskT]):
    """A task under lease."""

    task: TaskT
    attempt: int
    """1 the first time. Above 1, an earlier holder went silent with it."""


@dataclass(frozen=True)
class Batch(Generic[TaskT]):
    """What one claim brought."""

    tasks: list[Claimed[TaskT]] = field(default_factory=list)
    exhausted: list[Claimed[TaskT]] = field(default_factory=list)
    """Held like the others, but not to be run: record each as ``killed_worker`` (groups: finish them)."""
    malformed: list[str] = field(default_factory=list)
    """Payloads that were no valid task; already set aside."""

    def __bool__(self) -> bool:
        return bool(self.tasks or self.exhausted)


@dataclass(frozen=True)
class Claim:
    """A task somebody holds, as ``inspect`` shows it."""

    id: str
    worker: str
    since: float
    """Seconds since the epoch, clock of Redis."""
    lease_left: float
    """Seconds until it may be taken away; negative when it is overdue."""
    attempt: int


@dataclass(frozen=True)
class QueueState:
    """A queue at one moment."""

    waiting: int
    claims: list[Claim]
    malformed: int


class ReliableQueue(Generic[TaskT]):
    """One queue as one worker sees it. Async; ``inspect`` and ``reclaim`` below serve sync callers.

    ``lease_seconds``: silence after which a task is given to somebody else.
    ``max_attempts``: claims that may end in silence before the task counts as a killer of workers.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        kind: type[TaskT],
        worker_id: str,
        *,
        lease_seconds: float = 30.0,
        max_attempts: int = 3,
        max_faults: int = MAX_FAULTS,
    ) -> None:
        self._client = client
        self._kind: type[TaskT] = kind
        self._worker = worker_id
        self._lease_ms = max(1, int(lease_seconds * 1000))
        self._max_attempts = max_attempts
        self._max_faults = max_faults
        self.name = queue_of(kind)
        self._keys = Keys.queue(self.name)

    async def claim(self, n: int, wait_seconds: float = 0.0) -> Batch[TaskT]:
        """Take up to ``n`` tasks; wait up to ``wait_seconds`` for the first. Empty when none came.

        A cancelled claim gives back what it had taken, without blame.
        """
        deadline = time.monotonic() + wait_seconds
        pause = POLL_FIRST_SECONDS
        while True:
            batch = await self._claim_now(n)
            left = deadline - time.monotonic()
            if batch or left <= 0:
                return batch
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, POLL_LAST_SECONDS)

    async def heartbeat(self, ids: Iterable[str]) -> list[str]:
        """Extend the leases of ``ids``. Returns those that this worker no longer holds."""
        held = list(ids)
        if not held:
            return []
        return await scripts.run_async(
            self._client,
            ScriptCall("heartbeat", self._keys, [self._worker, self._lease_ms, *held], list),
        )

    async def release(self, task: TaskT, *, fault: bool) -> ReleaseOutcome:
        """Give a task back without blame.

        ``fault=False``: it was not touched (the worker leaves). ``fault=True``: infrastructure failed it;
        after ``max_faults`` of them it is ``abandoned``: a candidate is parked for a resume, a group ends.
        ``lost``: the lease had already gone to somebody else.
        """
        args: list[Arg] = [self._worker, task.id, int(fault), self._max_faults]
        outcome = await scripts.run_async(self._client, ScriptCall("release", self._keys, args, str))
        if outcome != "faulty":
            return "requeued" if outcome == "requeued" else "lost"
        if isinstance(task, GenerationTask):
            await scripts.run_async(self._client, finish_group(task, "abandoned"))
            return "abandoned"
        return await scripts.run_async(self._client, _abandon(task, self._worker))

    async def depth(self) -> int:
        """Tasks that wait; those under lease are not among them."""
        return int(await self._client.llen(self.name))  # type: ignore[misc]

    async def _claim_now(self, n: int) -> Batch[TaskT]:
        if n <= 0:
            return Batch()
        keys = [*self._keys, Keys.malformed(self.name), Keys.receipt(self.name, self._worker)]
        limits = [n, self._lease_ms, self._max_attempts]
        args: list[Arg] = [self._worker, *limits, uuid.uuid4().hex, MALFORMED_CAP]
        call = ScriptCall("claim", keys, args, self._parse)
        request = asyncio.ensure_future(scripts.run_async(self._client, call))
        try:
            batch = await asyncio.shield(request)
        except asyncio.CancelledError:
            with contextlib.suppress(redis.RedisError):
                batch = await request
                for claimed in (*batch.tasks, *batch.exhausted):
                    await self.release(claimed.task, fault=False)
            raise
        if batch.malformed:
            await self._set_aside(batch.malformed)
        return batch

    def _parse(self, reply: list[Any]) -> Batch[TaskT]:
        batch: Batch[TaskT] = Batch()
        for payload, attempt, exhausted in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            try:
                task: Any = self._kind.model_validate_json(payload)
            except ValidationError:
                batch.malformed.append(payload)
                continue
            (batch.exhausted if exhausted else batch.tasks).append(Claimed(task, int(attempt)))
        return batch

    async def _set_aside(self, payloads: list[str]) -> None:
        """JSON with an id, but no valid task: out of the claims, into the list of malformed entries."""
        pipeline = self._client.pipeline(transaction=True)
        for payload in payloads:
            id = json.loads(payload)["id"]
            pipeline.lpush(Keys.malformed(self.name), payload)
            pipeline.hdel(Keys.claimed(self.name), id)
            pipeline.zrem(Keys.lease(self.name), id)
            pipeline.hdel(Keys.attempts(self.name), id)
        pipeline.ltrim(Keys.malformed(self.name), 0, MALFORMED_CAP - 1)
        await pipeline.execute()


def queue_of(kind: type[Any]) -> str:
    """Name of the queue that carries this kind of task."""
    return Keys.EVAL_QUEUE if kind is EvaluationTask else Keys.GENERATION_QUEUE


def reclaim(queue: str, worker_id: str, *, blame: bool) -> ScriptCall[list[str]]:
    """Put back at once all that a dead worker held, instead of waiting for its leases; returns the ids.

    ``blame=False`` where it was killed on purpose: its tasks had no part in its end.
    """
    return ScriptCall("reclaim", Keys.queue(queue), [worker_id, int(blame)], list)


def inspect(client: redis.Redis, queue: str) -> QueueState:
    """Who holds what; for people and for tests."""
    seconds, micros = client.time()  # type: ignore[misc]
    now = seconds + micros / 1e6
    pipeline = client.pipeline(transaction=True)
    pipeline.llen(queue)
    pipeline.hgetall(Keys.claimed(queue))
    pipeline.zrange(Keys.lease(queue), 0, -1, withscores=True)
    pipeline.hgetall(Keys.attempts(queue))
    pipeline.llen(Keys.malformed(queue))
    waiting, claimed, leases, attempts, malformed = pipeline.execute()
    expiry = {id: score / 1000 for id, score in leases}
    claims = []
    for id, text in claimed.items():
        entry = json.loads(text)
        left = expiry.get(id, now) - now
        claims.append(Claim(id, entry["worker"], entry["since"] / 1000, left, int(attempts.get(id, 0))))
    return QueueState(int(waiting), claims, int(malformed))


def _abandon(task: EvaluationTask, worker: str) -> ScriptCall[ReleaseOutcome]:
    keys = [
        *Keys.queue(Keys.EVAL_QUEUE),
        Keys.parked(Keys.EVAL_QUEUE, task.run),
        Keys.run_stats(task.run, task.operation),
        Keys.known(task.operation),
    ]
    return ScriptCall("abandon", keys, [worker, task.id, task.hash], _release_outcome)


def _release_outcome(reply: Any) -> ReleaseOutcome:
    return "abandoned" if reply == "abandoned" else "lost"

"""The loop of a run: reads where it stands, asks for candidates, ends it.

- What is wanted is decided by the search policy and ``pacing``; what happened is read from Redis. The loop
  itself remembers nothing that a resumed run would miss.
- A Redis that is away for a while is waited for; a private one that died is started again on its data.
- An ending has a reason: ``finished`` (every operation is done), ``stopped`` (asked to, or out of time) or
  ``failed`` (no worker is left, Redis stays away).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import redis
import structlog

from ..generation.worker import CLOSED_FIELD
from ..search.policy import Policy
from ..state import scripts
from ..state.intake import request_group
from ..state.keys import Keys
from ..state.queue import reclaim
from ..state.run_state import OperationCounters, RunStore
from ..state.server import ServerError
from ..state.worker_registry import WorkerRegistry
from . import pacing
from .local import LocalFleet, WorkerSpec
from .private_redis import SharedServer

TICK_SECONDS = 0.25
"""How often it looks; a tick costs Redis one round trip for all operations."""
RATE_SECONDS = 60.0
"""Window of the verdicts per second."""
REDIS_PATIENCE_SECONDS = 120.0
"""A Redis that is being restarted or upgraded is back in less."""
QUEUES = (Keys.GENERATION_QUEUE, Keys.EVAL_QUEUE)

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    status: Literal["finished", "stopped", "failed"]
    reason: str


@dataclass
class Plan:
    """What a run wants."""

    run: str
    policy: Policy
    goal: pacing.Goal
    sampling: pacing.Sampling
    group_size: int
    generators: int
    engine: str = "grammar"
    """Which one the generating workers run."""
    deadline: float | None = None
    """Time of ``time.monotonic`` at which it is out of time."""
    on_tick: Callable[[Sequence[OperationCounters]], None] = field(default=lambda _: None)
    """Shows where the run stands."""


class Coordinator:
    """See the module's docstring."""

    def __init__(
        self, plan: Plan, client: redis.Redis, fleet: LocalFleet, server: SharedServer | None = None
    ) -> None:
        self._plan = plan
        self._client = client
        self._runs = RunStore(client)
        self._registry = WorkerRegistry(client)
        self._fleet = fleet
        self._server = server
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._reviving = asyncio.Lock()
        self._closed: dict[str, bool] = {}
        self._history: deque[tuple[float, int]] = deque()

    def interrupt(self) -> None:
        """Ask for the end: once to finish what is held, twice to end at once."""
        if self._stop.is_set():
            self._kill.set()
        self._stop.set()

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop.is_set()

    async def work(self) -> Ending:
        """Until every operation is done or there is a reason to end."""
        watching = asyncio.ensure_future(self._watch_server())
        try:
            return await self._loop()
        finally:
            watching.cancel()

    async def _loop(self) -> Ending:
        while True:
            try:
                ending = await self._patiently(self._tick)
            except redis.RedisError as error:
                return Ending("failed", f"Redis does not come back: {error}")
            if ending is not None:
                return ending
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    async def wind_down(self, grace_seconds: float) -> None:
        """Let the workers finish what they hold, or end them when asked twice or out of patience."""
        for id in self._fleet.status:
            with contextlib.suppress(redis.RedisError):
                await asyncio.to_thread(self._registry.request_shutdown, id, "the run ends")
        draining = asyncio.ensure_future(self._fleet.drain(grace_seconds))
        killed = asyncio.ensure_future(self._kill.wait())
        await asyncio.wait({draining, killed}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            await self._fleet.kill()
        await draining
        killed.cancel()

    async def settle(self, ending: Ending) -> None:
        """Give back what killed workers held, set waiting tasks aside, and note how the run ended."""
        await self._patiently(lambda: asyncio.to_thread(self._settle, ending))

    def give_back(self, ids: Sequence[str], *, blame: bool) -> int:
        """Return to the queues what these dead workers held; how many tasks."""
        found = 0
        for id in ids:
            for queue in QUEUES:
                found += len(scripts.run(self._client, reclaim(queue, id, blame=blame)))
        return found

    async def worker_died(self, spec: WorkerSpec, code: int) -> None:
        """Hook of the fleet: what the dead worker held is claimable at once, not when its lease runs out."""
        returned = await asyncio.to_thread(self.give_back, [spec.id], blame=True)
        await asyncio.to_thread(
            self._runs.add_event, self._plan.run, "worker_died", worker=spec.id, code=code, returned=returned
        )

    # -- one look --------------------------------------------------------------------------------------
    async def _tick(self) -> Ending | None:
        plan = self._plan
        counters = await asyncio.to_thread(self._runs.counters, plan.run)
        plan.on_tick(counters)
        if all(pacing.done(c, plan.goal) for c in counters):
            return Ending("finished", "every operation is done")
        if self._stop.is_set():
            return Ending("stopped", "interrupted")
        if await asyncio.to_thread(self._registry.shutdown_requested, plan.run):
            return Ending("stopped", "asked to stop")
        if plan.deadline is not None and time.monotonic() >= plan.deadline:
            return Ending("stopped", "--max-minutes is over")
        problem = self._fleet.problem()
        if problem:
            return Ending("failed", problem)
        await asyncio.to_thread(self._close_operations, counters)
        await asyncio.to_thread(self._ask, counters)
        return None

    def _close_operations(self, counters: list[OperationCounters]) -> None:
        """Tell the generators which operations need no more: those that reached the target."""
        for one in counters:
            closed = pacing.reached_target(one, self._plan.goal)
            if self._closed.get(one.operation) != closed:
                self._client.hset(Keys.run_stats(self._plan.run, one.operation), CLOSED_FIELD, int(closed))
                self._closed[one.operation] = closed

    def _ask(self, counters: list[OperationCounters]) -> None:
        plan = self._plan
        room = pacing.capacity(
            counters,
            generators=plan.generators,
            group_size=plan.group_size,
            verdicts_per_second=self._rate(counters),
            engine=plan.engine,
        )
        if room < 1:
            return
        wishes = plan.policy.plan([pacing.progress(c, plan.goal) for c in counters], room, plan.group_size)
        for task in pacing.groups(wishes, counters, plan.sampling):
            scripts.run(self._client, request_group(task))

    def _rate(self, counters: Sequence[OperationCounters]) -> float:
        now, evaluated = time.monotonic(), sum(c.evaluated for c in counters)
        self._history.append((now, evaluated))
        while self._history[0][0] < now - RATE_SECONDS:
            self._history.popleft()
        seconds = now - self._history[0][0]
        return (evaluated - self._history[0][1]) / seconds if seconds > 1 else 0.0

    def _settle(self, ending: Ending) -> None:
        run = self._plan.run
        self.give_back(list(self._fleet.status), blame=False)
        for id in (*self._fleet.status, run):
            self._registry.clear_shutdown(id)
        if ending.status != "finished":
            self._runs.park(run)
        self._runs.add_event(run, ending.status, reason=ending.reason)
        self._runs.set_status(run, "finished" if ending.status == "finished" else "stopped")

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Repeat while Redis is away. Raises redis-py's error after REDIS_PATIENCE_SECONDS."""
        give_up = time.monotonic() + REDIS_PATIENCE_SECONDS
        while True:
            try:
                return await action()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if time.monotonic() > give_up or self._kill.is_set():
                    raise
                log.warning("redis_away", reason=str(error))
                await self._revive_server()
                await asyncio.sleep(1.0)

    async def _watch_server(self) -> None:
        """Look after a private Redis: it is back sooner than its users lose patience."""
        while True:
            await self._revive_server()
            await asyncio.sleep(TICK_SECONDS)

    async def _revive_server(self) -> None:
        async with self._reviving:
            if self._server is None or self._server.alive:
                return
            log.warning("private_redis_died")
            # Its port may take a moment to become free: the next look tries again.
            with contextlib.suppress(ServerError):
                await asyncio.to_thread(self._server.revive)
                log.info("private_redis_revived")

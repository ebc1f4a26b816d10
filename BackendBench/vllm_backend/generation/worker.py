"""The generating worker: claims groups, has an engine sample them, submits the candidates.

- A claimed group is finished, or goes back. Its lease is extended from here; a group whose lease was lost is
  dropped, because somebody else has it. Candidates are counted by id, so nothing counts twice.
- As many groups are in flight as ``controller`` allows; each has a task of its own.
- A group whose operation needs no more (``closed`` in its counters) is aborted in the engine.
- An engine that fails is started again (engine_keeper); its groups go back to the queue meanwhile. One that
  cannot work as configured ends the worker with EngineConfigError.
- SIGTERM or ``shutdown:{worker_id}``: finish the groups in flight and leave. A second SIGTERM: give them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis
import redis.asyncio
import structlog

from ..search.registry import make_policy
from ..state import scripts
from ..state.connection import connect, connect_async
from ..state.gpu_gate import EngineGate
from ..state.intake import candidate_id, finish_group
from ..state.keys import Keys
from ..state.queue import Claimed, ReliableQueue
from ..state.scripts import ScriptCall
from ..state.store import KernelStore
from ..state.task import GenerationTask
from ..state.worker_registry import WorkerInfo, beat, enter, leave
from .analysis import Analyst
from .controller import STEP_SECONDS, GroupController, Observation, Rate
from .engine_keeper import EngineKeeper
from .engines import create
from .engines.base import Engine, EngineConfigError, EngineError
from .feedback import read_feedback
from .group import Group, Tools, sample_group
from .operation_view import OperationView, load_view
from .settings import GenerationSettings
from .time_share import TimeShare

CLAIM_WAIT_SECONDS = 1.0
BEATS_PER_LEASE = 4
"""Three beats may be lost before a lease runs out."""
LONGEST_BEAT_SECONDS = 2.0
"""A request to leave is heard within this time."""
REDIS_PATIENCE_SECONDS = 120.0
"""How long a candidate waits for Redis to come back before the worker gives up; a restart takes seconds."""
CLOSED_FIELD = "closed"
"""Field of an operation's counters: 1 when no more candidates are wanted."""

log = structlog.get_logger()
T = TypeVar("T")
Describe = Callable[[str, str], OperationView]
"""View of an operation by name and, for a user's own one, the text of its file. Blocks."""


class GenerationWorker:
    """One worker process; see the module's docstring."""

    def __init__(
        self,
        settings: GenerationSettings,
        client: redis.asyncio.Redis,
        store: KernelStore,
        engine: Engine,
        describe: Describe = load_view,
    ) -> None:
        self._settings = settings
        self._redis = client
        self._store = store
        self._engine = engine
        self._describe = describe
        self._queue = ReliableQueue(
            client, GenerationTask, settings.worker_id,
            lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts,
        )  # fmt: skip
        clock = TimeShare()
        self._tools = Tools(engine, clock, self._commit, Analyst(), settings.device_name)
        self._controller = GroupController(settings.groups_in_flight, settings.digest_seconds)
        self._rate = Rate()
        self._groups: dict[str, tuple[Group, asyncio.Task[None]]] = {}
        self._views: dict[tuple[str, str], asyncio.Task[OperationView]] = {}
        self._state = "starting"
        self._run = ""
        self._draining = asyncio.Event()
        self._leaving = asyncio.Event()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gate = EngineGate(settings.engine.gpu_gates)
        self._keeper = EngineKeeper(engine, gate, clock, self._helper_ended)

    async def run(self) -> None:
        """Until told to leave. Raises EngineConfigError, or what made it impossible to go on."""
        await self._patiently(lambda: scripts.run_async(self._redis, enter(self._info())))
        helpers = [asyncio.ensure_future(work) for work in (self._beat(), self._watch())]
        for helper in helpers:
            helper.add_done_callback(self._helper_ended)
        try:
            await self._until_left(self._keeper.start())
            await self._patiently(self._look)  # before the first claim: evaluation may be behind already
            await self._claim_until_told()
            await self._finish()
        finally:
            for helper in helpers:
                helper.cancel()
            await self._give_back()
            await self._keeper.close()
            self._tools.analyst.close()
            with contextlib.suppress(redis.RedisError):
                await scripts.run_async(self._redis, leave(self._settings.worker_id))

    def stop(self) -> None:
        """Leave when the groups in flight are done; called twice: leave now."""
        if self._draining.is_set():
            self._leaving.set()
        self._draining.set()
        log.info("leaving", now=self._leaving.is_set(), groups=len(self._groups))

    # -- claiming ----------------------------------------------------------------------------------------
    async def _claim_until_told(self) -> None:
        while not self._draining.is_set():
            room = self._controller.room(len(self._groups)) if self._keeper.ready else 0
            self._state = self._state_now()
            if room <= 0:
                await self._until_left(asyncio.sleep(STEP_SECONDS / 10))
                continue
            # With work in flight the wait is short: it must not keep the loop from looking at it.
            wait = STEP_SECONDS / 4 if self._groups else CLAIM_WAIT_SECONDS
            batch = await self._until_left(self._patiently(lambda: self._queue.claim(room, wait)))  # noqa: B023
            if batch is None:
                continue
            for claimed in batch.exhausted:
                log.warning("killed_worker", group=claimed.task.id, attempts=claimed.attempt)
                await self._commit(finish_group(claimed.task, "killed_worker"))
            for claimed in batch.tasks:
                self._take(claimed)

    def _take(self, claimed: Claimed[GenerationTask]) -> None:
        task = claimed.task
        group = Group(task, list(range(task.n)))
        self._controller.begin(self._engine.sequences, task.n)
        self._run = task.run
        work = asyncio.ensure_future(self._work(group))
        self._groups[task.id] = (group, work)
        work.add_done_callback(lambda done, id=task.id: self._taken_care_of(id, done))  # type: ignore[misc]

    def _taken_care_of(self, id: str, work: asyncio.Task[None]) -> None:
        self._groups.pop(id, None)
        self._helper_ended(work)

    def _helper_ended(self, work: asyncio.Task[None]) -> None:
        """An error that nobody expects ends the worker: it is a bug, or Redis stays away."""
        if not work.cancelled() and work.exception() is not None and not self._fatal.done():
            self._fatal.set_exception(work.exception() or RuntimeError())

    # -- one group ---------------------------------------------------------------------------------------
    async def _work(self, group: Group) -> None:
        task, started, epoch = group.task, time.monotonic(), self._keeper.epoch
        try:
            group.missing = await self._patiently(lambda: self._not_submitted(task))
            if await self._patiently(lambda: self._is_closed(task)):
                group.abort_reason = "closed"
            elif group.missing:
                view = await self._view(task.operation)
                feedback = await self._patiently(lambda: asyncio.to_thread(read_feedback, self._store, task))
                await sample_group(group, view, make_policy(task.policy), feedback, self._tools)
        except EngineConfigError:
            await self._release(group, fault=False)
            raise
        except EngineError as error:
            log.warning("engine_failed", group=task.id, reason=str(error), missing=len(group.missing))
            await self._release(group, fault=True)
            self._keeper.restart(epoch)
            return
        except (ValueError, LookupError) as error:  # a policy or an operation that this installation lacks
            log.error("group_not_understood", group=task.id, reason=str(error))
            await self._release(group, fault=True)
            return
        await self._end(group, time.monotonic() - started)

    async def _end(self, group: Group, seconds: float) -> None:
        """Acknowledge the group, unless it is somebody else's to finish."""
        task = group.task
        if group.abort_reason == "leaving":
            await self._release(group, fault=False)
            return
        if group.abort_reason == "lost":
            return
        self._keeper.worked()
        outcome = finish_group(task, "aborted" if group.abort_reason else "finished")
        short = await self._patiently(lambda: scripts.run_async(self._redis, outcome))
        log.info(
            "group", group=task.id, operation=task.operation, kind=task.kind, n=task.n, shortfall=short or 0,
            aborted=group.abort_reason, tokens=group.tokens, seconds=round(seconds, 3), **group.outcomes,
        )  # fmt: skip

    async def _release(self, group: Group, *, fault: bool) -> None:
        outcome = await self._patiently(lambda: self._queue.release(group.task, fault=fault))
        log.info("released", group=group.task.id, outcome=outcome, missing=len(group.missing))

    async def _abort(self, group: Group, reason: str) -> None:
        if not group.abort_reason:
            group.abort_reason = reason
            await self._engine.abort(group.task.id)

    async def _not_submitted(self, task: GenerationTask) -> list[int]:
        """Indices of the group that no earlier holder has submitted."""
        pipeline = self._redis.pipeline(transaction=False)
        for index in range(task.n):
            pipeline.sismember(Keys.submitted(task.run), candidate_id(task.id, index))
        return [index for index, known in enumerate(await pipeline.execute()) if not known]

    async def _is_closed(self, task: GenerationTask) -> bool:
        stats = Keys.run_stats(task.run, task.operation)
        return await self._redis.hget(stats, CLOSED_FIELD) == "1"  # type: ignore[misc]

    async def _view(self, operation: str) -> OperationView:
        # The client decodes replies; redis-py's types do not know.
        source: Any = await self._patiently(lambda: self._redis.get(Keys.operation_source(operation)))
        key = (operation, str(source or ""))
        if key not in self._views:
            self._views[key] = asyncio.ensure_future(asyncio.to_thread(self._describe, *key))
        return await asyncio.shield(self._views[key])

    # -- looking around ----------------------------------------------------------------------------------
    async def _watch(self) -> None:
        """Once a step: feed the controller, abort what is not needed any more."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            try:
                await self._look()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                log.warning("redis", error=str(error))

    async def _look(self) -> None:
        depth, verdicts = await self._evaluators()
        now, was_holding = time.monotonic(), self._controller.holding
        rate = self._rate.add(now, verdicts)
        seen = Observation(now, len(self._groups), self._engine.pressure(), depth, rate)
        self._controller.look(seen)
        if self._controller.holding != was_holding:
            log.info(
                "holding" if not was_holding else "going_on",
                eval_depth=depth,
                verdicts_per_second=round(rate, 2),
            )
        await self._abort_closed()

    async def _abort_closed(self) -> None:
        """One round trip, however many groups are in flight."""
        active = [group for group, _ in self._groups.values() if not group.abort_reason]
        pipeline = self._redis.pipeline(transaction=False)
        for group in active:
            pipeline.hget(Keys.run_stats(group.task.run, group.task.operation), CLOSED_FIELD)
        for group, closed in zip(active, await pipeline.execute(), strict=True):
            if closed == "1":
                await self._abort(group, "closed")

    async def _evaluators(self) -> tuple[int, int]:
        """Candidates that wait, and verdicts ever given."""
        operations: Any = await self._redis.smembers(Keys.OPERATIONS)  # type: ignore[misc]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.llen(Keys.EVAL_QUEUE)
        if operations:
            pipeline.mget([Keys.feedback_version(operation) for operation in operations])
        depth, *versions = await pipeline.execute()
        return int(depth), sum(int(v) for v in (versions[0] if versions else []) if v)

    async def _beat(self) -> None:
        """Extend the leases, show the state, hear whether to leave."""
        pause = min(self._settings.lease_seconds / BEATS_PER_LEASE, LONGEST_BEAT_SECONDS)
        while True:
            try:
                if await scripts.run_async(self._redis, beat(self._info())):
                    self._draining.set()
                for lost in await self._queue.heartbeat(list(self._groups)):
                    if lost in self._groups:
                        log.warning("lease_lost", group=lost)
                        await self._abort(self._groups[lost][0], "lost")
            except redis.RedisError as error:
                log.warning("redis", error=str(error))
            await asyncio.sleep(pause)

    def _info(self) -> WorkerInfo:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return WorkerInfo(
            id=self._settings.worker_id,
            role="generate",
            host=socket.gethostname(),
            pid=os.getpid(),
            device=f"cuda:{gpus}" if self._settings.engine.name == "vllm" else self._engine.name,
            state=self._state,
            task=", ".join(list(self._groups)[:3]),
            run=self._run,
        )

    def _state_now(self) -> str:
        if not self._keeper.ready:
            return "starting"
        if self._controller.holding:
            return "holding"
        return "busy" if self._groups else "idle"

    # -- leaving -----------------------------------------------------------------------------------------
    async def _finish(self) -> None:
        """Wait for the groups in flight."""
        self._state = "draining"
        while self._groups and not self._leaving.is_set():
            await self._until_left(
                asyncio.wait([work for _, work in self._groups.values()], timeout=STEP_SECONDS)
            )

    async def _give_back(self) -> None:
        """End what is still in flight and release it."""
        in_flight = list(self._groups.values())
        for group, _ in in_flight:
            await self._abort(group, "leaving")
        for group, work in in_flight:
            if not work.done():
                await asyncio.wait([work], timeout=LONGEST_BEAT_SECONDS)
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
                await self._release(group, fault=False)

    async def _until_left(self, work: Awaitable[T]) -> T | None:
        """The result, or None when somebody wants the worker to leave first. Raises what ended the worker."""
        task = asyncio.ensure_future(work)
        signals = self._leaving if self._draining.is_set() else self._draining
        told = asyncio.ensure_future(signals.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {task, told, self._fatal}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._fatal.done():
                self._fatal.result()
            if task.done():
                return task.result()
            return None
        finally:
            told.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    # -- Redis -------------------------------------------------------------------------------------------
    async def _commit(self, call: ScriptCall[T]) -> T:
        return await self._patiently(lambda: scripts.run_async(self._redis, call))

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Repeat while Redis is away; raises redis-py's error after REDIS_PATIENCE_SECONDS."""
        give_up = time.monotonic() + REDIS_PATIENCE_SECONDS
        while True:
            try:
                return await action()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if time.monotonic() > give_up:
                    raise
                log.warning("redis_away", reason=str(error))
                await asyncio.sleep(1.0)


async def serve(settings: GenerationSettings, describe: Describe = load_view) -> int:
    """Run one worker until it is told to leave. Returns the process's exit code.

    Raises EngineConfigError when the engine cannot work as configured.
    """
    engine = create(settings.engine.name, settings.engine)
    client = connect_async(settings.redis_url)
    store = KernelStore(client=connect(settings.redis_url))
    try:
        worker = GenerationWorker(settings, client, store, engine, describe)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
        return 0
    finally:
        await client.aclose()

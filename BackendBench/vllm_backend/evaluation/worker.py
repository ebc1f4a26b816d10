"""The evaluating worker: claims candidates, has them judged, commits the verdicts.

- It holds the Redis connection and nothing else: no torch, no candidate code, no reference.
- A claimed task ends as one commit, or goes back. Leases are extended from here, so a worker that hangs or dies
  loses its tasks to another one.
- A fault of the infrastructure goes back to the queue without blame and the judge is started anew, with growing
  pauses; after ``GIVE_UP_AFTER`` such starts in a row the worker leaves with exit code 1 and says why.
- SIGTERM or ``shutdown:{worker_id}``: finish what is claimed and leave. A second SIGTERM: give it back and leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial

import redis.asyncio
import structlog

from ..state import scripts
from ..state.commit import commit_verdict, killed_worker
from ..state.connection import connect_async
from ..state.keys import Keys
from ..state.queue import Claimed, ReliableQueue
from ..state.task import EvaluationTask
from ..state.verdict import Verdict
from ..state.worker_registry import WorkerInfo, beat, enter, leave
from . import sandbox
from .client import JudgeClient
from .failure import InfrastructureFault
from .settings import WorkerSettings

CLAIM_WAIT_SECONDS = 1.0
BEATS_PER_LEASE = 4
"""Three beats may be lost before a lease runs out."""
GIVE_UP_AFTER = 5
"""Starts of the judge in a row that end in a fault: the machine, not chance."""
RESTART_AFTER = 3
"""Faults in a row after which a judge that still runs is replaced as well."""
REDIS_PATIENCE_SECONDS = 120.0
"""How long a verdict waits for Redis to come back before the worker gives up; a restart takes seconds."""

log = structlog.get_logger()


class EvaluationWorker:
    """One worker process; see the module's docstring."""

    def __init__(self, settings: WorkerSettings, client: redis.asyncio.Redis) -> None:
        self._settings = settings
        self._redis = client
        self._queue = ReliableQueue(
            client, EvaluationTask, settings.worker_id,
            lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts,
        )  # fmt: skip
        self._judge = JudgeClient(settings.judge)
        self._under_way: dict[str, tuple[EvaluationTask, asyncio.Task[None]]] = {}
        self._committing: set[str] = set()
        """Of those under way. A verdict that is being recorded has no lease any more."""
        self._draining = asyncio.Event()
        self._abandon = asyncio.Event()
        self._judging = asyncio.Lock()
        self._faults = 0
        self._state = "starting"
        self._sources: dict[str, str] = {}

    async def run(self) -> int:
        """Until told to leave. Returns the process's exit code."""
        await scripts.run_async(self._redis, enter(self._info()))
        beating = asyncio.ensure_future(self._beat())
        weak = sandbox.warning(sandbox.probe())
        if weak:
            log.warning("weak_sandbox", advice=weak)
        try:
            await self._start_judge()
            await self._prepare()
            while not self._draining.is_set() and self._faults < GIVE_UP_AFTER:
                await self._claim()
            await self._finish()
        finally:
            beating.cancel()
            await self._judge.close()
            with contextlib.suppress(redis.RedisError):
                await scripts.run_async(self._redis, leave(self._settings.worker_id))
        return 1 if self._faults >= GIVE_UP_AFTER else 0

    async def _prepare(self) -> None:
        """Have references made ahead of need; a fault here will show again where it matters."""
        with contextlib.suppress(InfrastructureFault):
            if self._settings.operations and self._judge.alive:
                wanted = [(name, await self._source(name)) for name in self._settings.operations]
                await self._judge.prepare(wanted)

    def stop(self) -> None:
        """Leave when the claimed tasks are done; called twice: leave now."""
        if self._draining.is_set():
            self._abandon.set()
        self._draining.set()

    async def _claim(self) -> None:
        async with self._judging:
            pass  # while a judge is being replaced nothing is claimed that it could not judge
        room = self._judge.concurrency - len(self._under_way)
        if room <= 0:
            await asyncio.wait([t for _, t in self._under_way.values()], return_when=asyncio.FIRST_COMPLETED)
            return
        self._state = "busy" if self._under_way else "idle"
        # With work under way the wait is short: a free place must not wait for the queue's next look.
        batch = await self._queue.claim(room, 0.2 if self._under_way else CLAIM_WAIT_SECONDS)
        for claimed in batch.exhausted:
            await self._commit(claimed.task, self._killed(claimed))
        for claimed in batch.tasks:
            running = asyncio.ensure_future(self._judge_one(claimed.task))
            self._under_way[claimed.task.id] = (claimed.task, running)
            running.add_done_callback(partial(self._ended, claimed.task.id))

    def _ended(self, id: str, _: asyncio.Task[None]) -> None:
        self._under_way.pop(id, None)
        self._committing.discard(id)

    def _killed(self, claimed: Claimed[EvaluationTask]) -> Verdict:
        log.warning("killed_worker", task=claimed.task.id, attempts=claimed.attempt - 1)
        return killed_worker(claimed.task, claimed.attempt - 1, self._settings.worker_id)

    async def _finish(self) -> None:
        self._state = "draining"
        tasks = [t for _, t in self._under_way.values()]
        if not tasks:
            return
        abandoned = asyncio.ensure_future(self._abandon.wait())
        await asyncio.wait(
            {abandoned, asyncio.ensure_future(_all(tasks))}, return_when=asyncio.FIRST_COMPLETED
        )
        abandoned.cancel()
        for task, running in list(self._under_way.values()):
            running.cancel()
            await self._queue.release(task, fault=False)

    async def _judge_one(self, task: EvaluationTask) -> None:
        judge = self._judge
        try:
            verdict = await judge.evaluate(task, await self._source(task.operation))
        except InfrastructureFault as fault:
            log.warning("infrastructure_fault", task=task.id, reason=str(fault))
            await self._queue.release(task, fault=True)
            await self._restart_judge(judge)
            return
        except Exception:  # a mistake of ours: the task goes back at once, not when its lease runs out
            log.exception("worker_error", task=task.id)
            await self._queue.release(task, fault=True)
            return
        self._faults = 0
        self._committing.add(task.id)
        await self._commit(task, verdict.model_copy(update={"worker": self._settings.worker_id}))

    async def _commit(self, task: EvaluationTask, verdict: Verdict) -> None:
        """Record a verdict; a Redis that is being restarted is waited for."""
        deadline = asyncio.get_running_loop().time() + REDIS_PATIENCE_SECONDS
        while True:
            try:
                outcome = await scripts.run_async(self._redis, commit_verdict(task, verdict))
                break
            except redis.ConnectionError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(1.0)
        log.info(
            "verdict", task=task.id, operation=task.operation, outcome=outcome, correct=verdict.correct,
            error_type=verdict.error_type.value if verdict.error_type else "", speedup=round(verdict.speedup, 4),
        )  # fmt: skip

    async def _source(self, operation: str) -> str:
        """Text of a user's own operation, or ''."""
        if operation not in self._sources:
            found = await self._redis.get(Keys.operation_source(operation))
            self._sources[operation] = str(found or "")
        return self._sources[operation]

    async def _start_judge(self) -> None:
        while self._faults < GIVE_UP_AFTER and not self._draining.is_set():
            try:
                await self._judge.start()
                await self._judge.vouch()
                return
            except InfrastructureFault as fault:
                await self._judge.close()
                self._faults += 1
                log.error("judge_did_not_start", reason=str(fault), attempt=self._faults)
                await asyncio.sleep(min(30.0, 2.0**self._faults))

    async def _restart_judge(self, failed: JudgeClient) -> None:
        """After a fault: a new judge if this one is dead or keeps failing; once, however many tasks saw it."""
        async with self._judging:
            if failed is not self._judge:
                return  # another task's fault has had it replaced already
            self._faults += 1
            if failed.alive and self._faults < RESTART_AFTER:
                return
            await failed.close()
            self._judge = JudgeClient(self._settings.judge)
            await self._start_judge()

    def _info(self) -> WorkerInfo:
        judge = self._settings.judge
        device = (
            f"cuda:{os.environ.get('CUDA_VISIBLE_DEVICES', judge.device_index)}"
            if judge.target == "cuda"
            else "cpu"
        )
        shown = ", ".join(list(self._under_way)[:3])
        return WorkerInfo(
            self._settings.worker_id,
            "evaluate",
            socket.gethostname(),
            os.getpid(),
            device,
            self._state,
            shown,
        )

    async def _beat(self) -> None:
        """Extend the leases, show the state, hear whether to leave."""
        pause = self._settings.lease_seconds / BEATS_PER_LEASE
        while True:
            try:
                if await scripts.run_async(self._redis, beat(self._info())):
                    self._draining.set()
                for lost in await self._queue.heartbeat(list(self._under_way)):
                    if lost in self._under_way and lost not in self._committing:
                        log.warning("lease_lost", task=lost)
            except redis.RedisError as error:
                log.warning("redis", error=str(error))
            await asyncio.sleep(min(pause, 2.0))


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve(settings: WorkerSettings) -> int:
    """Run one worker until it is told to leave. Returns the process's exit code."""
    client = connect_async(settings.redis_url)
    worker = EvaluationWorker(settings, client)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        return await worker.run()
    finally:
        await client.aclose()

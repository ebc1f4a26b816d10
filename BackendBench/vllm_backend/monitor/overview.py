"""What works now: queues, workers, runs and their rates. Reading and aggregating are apart; the latter is pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from ..state.keys import Keys
from ..state.queue import QueueState, inspect
from ..state.run_state import Event, OperationCounters, Run, RunStore
from ..state.worker_registry import WorkerInfo, WorkerRegistry
from . import words
from .surroundings import gpus_now
from .table import Table, columns
from .view import GpuUse, gpu_text

WINDOW_SECONDS = 60.0
"""Over which rates are taken."""
RECENT_RUNS = 5
"""Runs shown that do not work now."""
LOOKED_AT_RUNS = 100
PAGE = 5_000


@dataclass(frozen=True)
class QueueNow:
    """One queue."""

    queue: str
    waiting: int
    held: int
    """Tasks that a worker holds."""
    malformed: int


@dataclass(frozen=True)
class OperationNow:
    """One operation of a run."""

    operation: str
    generated: int
    duplicates: int
    unusable: int
    evaluated: int
    correct: int
    faster: int
    waiting: int
    best_speedup: float


@dataclass(frozen=True)
class RunNow:
    """One run."""

    run: str
    state: str
    """running, stopped, finished."""
    workers: int
    """That live now."""
    age_seconds: float
    generated_per_minute: float
    evaluated_per_minute: float
    """Over the last minute."""
    operations: tuple[OperationNow, ...]


@dataclass(frozen=True)
class Overview:
    """Everything that ``status`` shows."""

    queues: tuple[QueueNow, ...]
    completed_tasks: int
    workers: tuple[WorkerInfo, ...]
    asked_to_leave: tuple[str, ...]
    runs: tuple[RunNow, ...]
    gpus: tuple[GpuUse, ...]
    """Of this machine."""
    now: float
    """Seconds since the epoch, clock of Redis."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read(client: redis.Redis) -> Overview:
    """One look. Raises redis-py's errors."""
    runs, registry = RunStore(client), WorkerRegistry(client)
    seconds, micros = client.time()  # type: ignore[misc]
    now = seconds + micros / 1e6
    workers = registry.workers()
    return Overview(
        queues=tuple(
            queue_now(queue, inspect(client, queue)) for queue in (Keys.GENERATION_QUEUE, Keys.EVAL_QUEUE)
        ),
        completed_tasks=int(client.llen(Keys.COMPLETED_TASKS)),  # type: ignore[arg-type]
        workers=tuple(workers),
        asked_to_leave=tuple(registry.pending_shutdowns()),
        runs=tuple(
            run_now(known, runs.counters(known.id), _recent(runs, known.id, now), workers, now)
            for known in _shown(runs, workers)
        ),
        gpus=gpus_now(),
        now=now,
    )


def _shown(runs: RunStore, workers: Sequence[WorkerInfo]) -> list[Run]:
    """Those that work, and the most recent of the others."""
    shown = []
    for place, id in enumerate(runs.latest(LOOKED_AT_RUNS)):
        if place < RECENT_RUNS or any(belongs(worker, id) for worker in workers):
            known = runs.get(id)
            if known is not None:
                shown.append(known)
    return shown


def _recent(runs: RunStore, run: str, now: float) -> list[Event]:
    found: list[Event] = []
    after = f"{int((now - WINDOW_SECONDS) * 1000)}-0"
    while page := runs.events(run, after, PAGE):
        found += page
        after = page[-1].id
    return found


def belongs(worker: WorkerInfo, run: str) -> bool:
    """Whether a worker was started by a run, or works for it now."""
    return worker.id.startswith(f"{run}/") or worker.run == run


def queue_now(name: str, state: QueueState) -> QueueNow:
    """One queue."""
    return QueueNow(name, state.waiting, len(state.claims), state.malformed)


def run_now(
    run: Run, counters: Iterable[OperationCounters], recent: Sequence[Event], workers: Sequence[WorkerInfo], now: float
) -> RunNow:  # fmt: skip
    """One run. ``recent``: its events of the last minute."""
    age = max(0.0, now - run.started)
    minutes = max(1.0, min(WINDOW_SECONDS, age)) / 60
    kinds = [event.fields.get("kind") for event in recent]
    return RunNow(
        run=run.id,
        state=run.status,
        workers=sum(belongs(worker, run.id) for worker in workers),
        age_seconds=age,
        generated_per_minute=kinds.count("candidate") / minutes,
        evaluated_per_minute=kinds.count("verdict") / minutes,
        operations=tuple(
            OperationNow(
                one.operation, one.generated, one.duplicates, one.unusable, one.evaluated, one.correct, one.faster,
                one.awaiting_evaluation, one.best_speedup,
            )
            for one in counters
        ),
    )  # fmt: skip


# -- in words ---------------------------------------------------------------------------------------------------
def tables(seen: Overview) -> list[Table]:
    """What a terminal shows; without what is empty."""
    made = [_queues(seen), _workers(seen), _runs(seen)]
    made += [_operations(run) for run in seen.runs if run.workers]
    return [table for table in made if table.rows]


def _queues(seen: Overview) -> Table:
    rows = [(q.queue, *map(words.count, (q.waiting, q.held, q.malformed))) for q in seen.queues]
    rows.append(("completed_tasks", words.count(seen.completed_tasks), words.NOTHING, words.NOTHING))
    return Table(
        "queues", "Queues", columns("queue", "waiting", "held by a worker", "malformed"), tuple(rows)
    )


def _workers(seen: Overview) -> Table:
    rows = []
    for worker in seen.workers:
        state = "asked to leave" if worker.id in seen.asked_to_leave else worker.state
        beat = words.seconds(max(0.0, seen.now - worker.heartbeat))
        rows.append(
            (worker.id, worker.role, worker.host, str(worker.pid), worker.device, state, worker.task, beat)
        )
    heads = columns("worker", last="role") + columns("host", "pid", last="device")
    heads += columns("state", last="task") + columns("", "last beat")[1:]
    machine = ", ".join(gpu_text(gpu) for gpu in seen.gpus)
    return Table("workers", f"Workers; this machine: {machine}" if machine else "Workers", heads, tuple(rows))


def _runs(seen: Overview) -> Table:
    rows = []
    for run in seen.runs:
        silent = run.state == "running" and not run.workers
        names = ("generated", "evaluated", "correct", "faster")
        sums = [sum(getattr(one, name) for one in run.operations) for name in names]
        rows.append(
            (
                run.run,
                *map(words.count, (run.workers, *sums)),
                words.decimal(run.generated_per_minute),
                words.decimal(run.evaluated_per_minute),
                words.seconds(run.age_seconds),
                "running, but no worker is seen" if silent else run.state,
            )
        )
    numbers = ("workers", "generated", "evaluated", "correct", "faster", "generated / min", "evaluated / min")
    heads = columns("run", *numbers, "started before", last="state")
    return Table("runs", "Runs; rates of the last minute", heads, tuple(rows))


def _operations(run: RunNow) -> Table:
    rows = [
        (
            o.operation,
            *map(
                words.count,
                (o.generated, o.duplicates, o.unusable, o.waiting, o.evaluated, o.correct, o.faster),
            ),
            words.speedup(o.best_speedup),
        )
        for o in run.operations
    ]
    names = (
        "generated",
        "duplicates",
        "unusable",
        "waiting",
        "evaluated",
        "correct",
        "faster",
        "best speedup",
    )
    return Table(f"operations of {run.run}", run.run, columns("operation", *names), tuple(rows))

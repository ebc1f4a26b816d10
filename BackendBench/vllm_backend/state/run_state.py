"""A run as Redis knows it: its configuration, its state, its counters and its events.

- Counters are written only by the scripts of ``intake`` and ``commit``; here they are read.
- States: running -> stopped -> running (resumed) -> finished. A run that was killed stays ``running``;
  whether its processes live is asked of the worker registry, not guessed here.
- Times are seconds since the epoch by the clock of Redis, the one that the scripts use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import redis

from . import scripts
from .intake import EVENTS_CAP, park_run, unpark_run
from .keys import Keys
from .store import counts_of

RunStatus = Literal["running", "stopped", "finished"]


@dataclass(frozen=True)
class Run:
    """One run."""

    id: str
    status: RunStatus
    config: dict[str, Any]
    operations: list[str]
    started: float
    stopped: float | None
    """When it was last stopped or finished; None while it runs."""


@dataclass(frozen=True)
class OperationCounters:
    """Where one operation of one run stands. Counts are of this run alone."""

    operation: str
    requested: int = 0
    generated: int = 0
    queued: int = 0
    duplicates: int = 0
    unusable: int = 0
    evaluated: int = 0
    correct: int = 0
    faster: int = 0
    """Kernels whose whole confidence interval lies above 1."""
    abandoned: int = 0
    """Candidates set aside because infrastructure kept failing them; judged when the run is resumed."""
    shortfall: int = 0
    """Samples that were asked for and never came."""
    duplicates_of_correct: int = 0
    """Duplicates whose kernel had been found correct, in this run or an earlier one."""
    best_speedup: float = 0.0
    best_hash: str = ""
    avg_speedup: float = 0.0
    best_known_speedup: float = 0.0
    """Best speedup among the duplicates: of kernels that an earlier run may have found."""
    first_correct: float | None = None
    """Time of the first correct kernel, seconds since the epoch."""
    first_faster: float | None = None
    tokens: int = 0
    generation_seconds: float = 0.0
    """Wall seconds of the engines, shared among the samples in flight, summed."""
    gpu_seconds: float = 0.0
    """The same times the GPUs of each engine: what generation has cost."""
    feedback_lag_sum: int = 0
    """Verdicts that came between the prompt of a candidate and its own verdict, summed over ``evaluated``."""
    feedback_lag_max: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Error class to count, largest first."""
    unusable_reasons: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    """``requested`` groups, and how they ended: finished, aborted, killed_worker, abandoned."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of evaluation by stage, summed."""

    @property
    def awaiting_generation(self) -> int:
        """Samples asked for that have not come back yet."""
        return max(0, self.requested - self.generated)

    @property
    def awaiting_evaluation(self) -> int:
        """Candidates that wait for a verdict or are being judged."""
        return max(0, self.queued - self.evaluated - self.abandoned)

    @property
    def idle(self) -> bool:
        """Nothing of this operation is under way."""
        return self.awaiting_generation == 0 and self.awaiting_evaluation == 0


@dataclass(frozen=True)
class Event:
    """One entry of a run's event stream."""

    id: str
    """Position in the stream; give it to ``events`` to read on from there."""
    time: float
    fields: dict[str, str]
    """``kind`` is candidate, verdict or what ``add_event`` was given; the rest depends on it."""


class RunStore:
    """Creates, reads and updates runs. Sync and thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def create(self, run: str, operations: Sequence[str], config: Mapping[str, Any]) -> Run:
        """Enter a new run in state running. Raises ValueError when one of this id exists."""
        now = self._now()
        if not self._client.hsetnx(Keys.run(run), "started", f"{now:.3f}"):
            raise ValueError(f"a run {run!r} exists already: resume it or choose another name")
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hset(Keys.run(run), mapping={"config": json.dumps(dict(config)), "state": "running"})
        if operations:
            pipeline.rpush(Keys.run_ops(run), *operations)
            pipeline.sadd(Keys.OPERATIONS, *operations)
        pipeline.zadd(Keys.RUNS, {run: now})
        pipeline.execute()
        return Run(run, "running", dict(config), list(operations), now, None)

    def get(self, run: str) -> Run | None:
        """The run, or None."""
        raw: dict[str, str] = self._client.hgetall(Keys.run(run))  # type: ignore[assignment]
        if "state" not in raw:
            return None
        stopped = float(raw["stopped"]) if raw.get("stopped") else None
        status: Any = raw["state"]
        return Run(
            run, status, json.loads(raw["config"]), self.operations(run), float(raw["started"]), stopped
        )

    def latest(self, limit: int = 20) -> list[str]:
        """Ids of the most recent runs, newest first."""
        return list(self._client.zrevrange(Keys.RUNS, 0, limit - 1))  # type: ignore[arg-type]

    def operations(self, run: str) -> list[str]:
        """Its operations in the order in which they were asked for."""
        return list(self._client.lrange(Keys.run_ops(run), 0, -1))  # type: ignore[arg-type]

    def set_status(self, run: str, status: RunStatus) -> None:
        """Enter a new state; ``stopped`` and ``finished`` note the time."""
        stopped = "" if status == "running" else f"{self._now():.3f}"
        self._client.hset(Keys.run(run), mapping={"state": status, "stopped": stopped})

    def set_config(self, run: str, config: Mapping[str, Any]) -> None:
        """Replace the configuration, for example when a resumed run gets a larger budget."""
        self._client.hset(Keys.run(run), "config", json.dumps(dict(config)))

    def park(self, run: str) -> int:
        """Set the waiting tasks of a stopped run aside, so that another run does not work on them."""
        operations = self.operations(run)
        queues = (Keys.GENERATION_QUEUE, Keys.EVAL_QUEUE)
        return sum(scripts.run(self._client, park_run(queue, run, operations)) for queue in queues)

    def unpark(self, run: str) -> int:
        """Put back what ``park`` and abandoned candidates left aside; part of a resume."""
        operations = self.operations(run)
        queues = (Keys.GENERATION_QUEUE, Keys.EVAL_QUEUE)
        return sum(scripts.run(self._client, unpark_run(queue, run, operations)) for queue in queues)

    def counters(self, run: str) -> list[OperationCounters]:
        """Counters of every operation of the run, read in one round trip."""
        operations = self.operations(run)
        pipeline = self._client.pipeline(transaction=True)
        for operation in operations:
            pipeline.hgetall(Keys.run_stats(run, operation))
        return [
            _counters(operation, raw) for operation, raw in zip(operations, pipeline.execute(), strict=True)
        ]

    def events(self, run: str, after: str = "", limit: int = 1000) -> list[Event]:
        """Up to ``limit`` events after the one with id ``after`` (from the beginning when '')."""
        begin = f"({after}" if after else "-"
        entries: Any = self._client.xrange(Keys.run_events(run), begin, "+", count=limit)
        return [Event(id, int(id.partition("-")[0]) / 1000, fields) for id, fields in entries]

    def add_event(self, run: str, kind: str, **fields: str | int | float) -> None:
        """Note something that happened to the run itself: a worker restarted, a budget reached."""
        entry: Any = {"kind": kind, **fields}
        self._client.xadd(Keys.run_events(run), entry, maxlen=EVENTS_CAP, approximate=True)

    def _now(self) -> float:
        seconds, micros = self._client.time()  # type: ignore[misc]
        return float(seconds) + micros / 1e6


def _counters(operation: str, raw: dict[str, str]) -> OperationCounters:
    def number(name: str) -> int:
        return int(raw.get(name, 0))

    def real(name: str) -> float:
        return float(raw.get(name, 0))

    def moment(name: str) -> float | None:
        return float(raw[name]) if name in raw else None

    stages = {
        name.removeprefix("seconds:"): float(v) for name, v in raw.items() if name.startswith("seconds:")
    }
    return OperationCounters(
        operation=operation,
        requested=number("requested"),
        generated=number("generated"),
        queued=number("queued"),
        duplicates=number("duplicates"),
        unusable=number("unusable"),
        evaluated=number("evaluated"),
        correct=number("correct"),
        faster=number("faster"),
        abandoned=number("abandoned"),
        shortfall=number("shortfall"),
        duplicates_of_correct=number("duplicates_of_correct"),
        best_speedup=real("best_speedup"),
        best_hash=raw.get("best_hash", ""),
        avg_speedup=real("avg_speedup"),
        best_known_speedup=real("best_known_speedup"),
        first_correct=moment("first_correct"),
        first_faster=moment("first_faster"),
        tokens=number("tokens"),
        generation_seconds=real("generation_seconds"),
        gpu_seconds=real("gpu_seconds"),
        feedback_lag_sum=number("feedback_lag_sum"),
        feedback_lag_max=number("feedback_lag_max"),
        errors=counts_of(raw, "error:"),
        unusable_reasons=counts_of(raw, "unusable:"),
        groups={"requested": number("groups"), **counts_of(raw, "groups:")},
        stage_seconds=stages,
    )

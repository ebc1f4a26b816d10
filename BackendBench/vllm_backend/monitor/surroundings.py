"""Looks at queues, workers, best kernels and GPUs in a thread of its own, so that nothing waits for a slow Redis.

What cannot be read stays as it was last seen, and how long Redis is silent is told.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

import pynvml
import redis

from ..fleet.devices import visible_gpus
from ..state.keys import Keys
from ..state.run_state import OperationCounters, RunStore
from ..state.store import KernelStore
from ..state.worker_registry import WorkerRegistry
from .view import GpuUse, Surroundings

LOOK_SECONDS = 1.0
"""Pause between two looks: five commands to Redis."""


class Watcher:
    """Keeps ``surroundings`` and ``counters`` fresh until ``stop``."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client = client
        self._run = run
        self._known: dict[str, tuple[str, float, float]] = {}
        self._seen = Surroundings()
        self._counters: list[OperationCounters] = []
        self._answered = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="surroundings", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A look that waits for Redis is left alone: its thread ends with it."""
        self._ending.set()
        self._thread.join(timeout=LOOK_SECONDS)

    @property
    def counters(self) -> list[OperationCounters]:
        """As last read; empty before the first look."""
        return self._counters

    def surroundings(self) -> Surroundings:
        """As last seen, with the present length of Redis' silence."""
        seen = self._seen
        silent = max(0.0, time.monotonic() - self._answered - LOOK_SECONDS)
        return Surroundings(**{**vars(seen), "silent_seconds": silent})

    def _work(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            # ValueError: the client was closed while this thread looked.
            with contextlib.suppress(redis.RedisError, OSError, ValueError):
                counters, seen = look(self._client, self._run, self._known)
                self._counters, self._seen, self._answered = counters, seen, time.monotonic()


def look(
    client: redis.Redis, run: str, known: dict[str, tuple[str, float, float]]
) -> tuple[list[OperationCounters], Surroundings]:
    """One look. ``known`` keeps the intervals of best kernels from look to look. Raises redis-py's errors."""
    counters = RunStore(client).counters(run)
    _learn_intervals(client, counters, known)
    pipeline = client.pipeline(transaction=False)
    pipeline.llen(Keys.GENERATION_QUEUE)
    pipeline.llen(Keys.EVAL_QUEUE)
    groups, candidates = pipeline.execute()
    roles = [worker.role for worker in WorkerRegistry(client).workers()]
    return counters, Surroundings(
        generation_queue=int(groups),
        eval_queue=int(candidates),
        generating=roles.count("generate"),
        evaluating=roles.count("evaluate"),
        gpus=gpus_now(),
        intervals=dict(known),
    )


def gpus_now() -> tuple[GpuUse, ...]:
    """Use of the visible GPUs; empty without a driver."""
    found = []
    for gpu in visible_gpus():
        with contextlib.suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
            found.append(GpuUse(f"GPU {gpu.index}", int(busy), int(memory.used), int(memory.total)))
    return tuple(found)


def _learn_intervals(
    client: redis.Redis, counters: Sequence[OperationCounters], known: dict[str, tuple[str, float, float]]
) -> None:
    store = KernelStore(client=client)
    for one in counters:
        if one.best_hash and known.get(one.operation, ("",))[0] != one.best_hash:
            kernel = store.get_kernel(one.operation, one.best_hash)
            if kernel is not None:
                known[one.operation] = (one.best_hash, kernel["speedup_low"], kernel["speedup_high"])

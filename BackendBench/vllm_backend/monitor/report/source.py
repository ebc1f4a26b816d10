"""Reads from Redis what a report is made of. The only part of the report that does."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from ...state.run_state import Event, RunStore
from ...state.store import KernelStore
from .found import Found, wanted_kernels

PAGE = 5_000
"""Events read at a time: about 1.5 MB."""


class UnknownRun(LookupError):
    """Redis knows no run of this id."""


def read(client: redis.Redis, run: str, *, alive: bool) -> Found:
    """Everything about ``run``; ``alive``: a process works on it. Raises UnknownRun, redis-py's errors."""
    runs, store = RunStore(client), KernelStore(client=client)
    known = runs.get(run)
    if known is None:
        raise UnknownRun(run)
    # Counters first: what is counted meanwhile is in the events, and never the other way round.
    counters = runs.counters(run)
    events = list(_events(runs, run))
    found = {key: store.get_kernel(*key) for key in sorted(wanted_kernels(counters, events))}
    kernels = {key: kernel for key, kernel in found.items() if kernel is not None}
    seconds, micros = client.time()  # type: ignore[misc]
    return Found(
        run=known,
        counters=counters,
        events=events,
        kernels=kernels,
        now=seconds + micros / 1e6,
        alive=alive,
        models=tuple(str(kernel.get("model", "")) for kernel in kernels.values()),
    )


def _events(runs: RunStore, run: str) -> Iterator[Event]:
    after = ""
    while page := runs.events(run, after, PAGE):
        yield from page
        after = page[-1].id

"""What a report is made of, as read from Redis, and which kernels must be read for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...state.run_state import Event, OperationCounters, Run

Kernel = Mapping[str, Any]
"""A kernel as ``KernelStore`` returns it."""


@dataclass(frozen=True)
class Found:
    """Everything that a report is made of."""

    run: Run
    counters: Sequence[OperationCounters]
    events: Sequence[Event]
    """Oldest first."""
    kernels: Mapping[tuple[str, str], Kernel]
    """By operation and hash: those that ``wanted_kernels`` named."""
    now: float
    """Seconds since the epoch, clock of Redis."""
    alive: bool = True
    """Whether a process works on the run."""
    models: tuple[str, ...] = field(default=())
    """Writers recorded with any of the kernels."""


def wanted_kernels(counters: Iterable[OperationCounters], events: Iterable[Event]) -> set[tuple[str, str]]:
    """Operation and hash of the kernels that a report needs: every new best, and the latest of each worker."""
    wanted = {(one.operation, one.best_hash) for one in counters if one.best_hash}
    latest: dict[str, tuple[str, str]] = {}
    best: dict[str, float] = {}
    for event in events:
        fields = event.fields
        if fields.get("kind") != "verdict":
            continue
        key = (fields["operation"], fields["hash"])
        if fields.get("error_type") != "killed_worker":  # its verdict knows no device
            latest[fields.get("worker", "")] = key
        if improves(best, event):
            wanted.add(key)
    return wanted | set(latest.values())


def improves(best: dict[str, float], event: Event) -> bool:
    """Whether a verdict raises the best speedup of its operation; notes it."""
    operation, speedup = event.fields["operation"], float(event.fields.get("speedup", 0))
    if event.fields.get("correct") != "True" or speedup <= best.get(operation, 0.0):
        return False
    best[operation] = speedup
    return True

"""Times the calls of a block, inside the process that makes them; the judge holds its own clock against it.

- On a CPU a clock is read around each call, on a GPU events are recorded around each, after a cold L2.
- A GPU is held up while calls are queued, so that no time of Python's lies between two events.
- Few calls are queued at a time: with more behind it a call takes 0.5 to 1 us longer, more so in the second block of a
  pair than in the first, and pairs scatter three times as much (H200: 5.4 instead of 1.7 % at 5 us).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .scattered import Scattered

CYCLES_A_MICROSECOND = 1980
"""A Hopper's clock at its fastest; on a slower GPU a block is held up for longer than was asked for."""
TOO_LATE = 2.0
"""Where a block was not held up for long enough, queueing the next one may take so many times longer."""
QUEUED_CALLS = 4
"""Calls that are queued at a time. Two at a time are no better; of sixteen all but the last four take longer."""

_clock = time.perf_counter_ns  # bound before any candidate code exists


@dataclass
class TimedCalls:
    """What a block took."""

    results: list[Any] = field(default_factory=list)
    """Of each call."""
    times_us: list[float] = field(default_factory=list)
    """Of each call, microseconds."""
    queued_us: float = 0.0
    """What queueing all calls takes at the rate of the slowest that were queued together, or more, where it took too
    long. Of a GPU."""
    late: bool = False
    """Whether a GPU began with some calls before they were all queued."""


def on_cpu(calls: Sequence[Callable[[], Any]]) -> TimedCalls:
    """Time each of these calls."""
    done = TimedCalls()
    for call in calls:
        start = _clock()
        result = call()
        done.times_us.append((_clock() - start) / 1e3)
        done.results.append(result)
    return done


class GpuClock:
    """What timing on a GPU takes in one process: memory for a cold L2, and places for outputs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._scattered = Scattered(device, random.Random())
        self._flush = torch.zeros(0, device=device)
        self._sink = torch.zeros((), device=device)

    def block(
        self,
        calls: Sequence[Callable[[], Any]],
        output_bytes: Iterable[int],
        flush_bytes: int,
        hold_us: float,
    ) -> TimedCalls:
        """Time each of these calls, whose outputs have so many bytes. ``flush_bytes``: read before each of them;
        ``hold_us``: microseconds for which the GPU is held up before them, all in all."""
        self._scattered.make_room(output_bytes)
        if self._flush.numel() * 4 != flush_bytes:
            self._flush = torch.zeros(flush_bytes // 4, device=self._device)
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in calls]
        done = TimedCalls()
        for at in range(0, len(calls), QUEUED_CALLS):
            together = slice(at, at + QUEUED_CALLS)
            share = len(calls[together]) / len(calls)
            took = self._queue(calls[together], events[together], share * hold_us, done)
            torch.cuda.synchronize()
            done.queued_us = max(done.queued_us, took / share)
        if done.late:  # it is to be held up for longer
            done.queued_us *= TOO_LATE
        done.times_us = [start.elapsed_time(end) * 1e3 for start, end in events]
        return done

    def _queue(
        self,
        calls: Sequence[Callable[[], Any]],
        events: Sequence[tuple[torch.cuda.Event, torch.cuda.Event]],
        hold_us: float,
        done: TimedCalls,
    ) -> float:
        """Returns what queueing took, microseconds."""
        results = done.results
        torch.cuda._sleep(round(CYCLES_A_MICROSECOND * hold_us))
        began = _clock()
        for call, (start, end) in zip(calls, events, strict=True):
            # A cold L2, by reading: what was written would have to be written back at the kernel's cost.
            torch.sum(self._flush, 0, out=self._sink)
            start.record()
            results.append(call())
            end.record()
        took = (_clock() - began) / 1e3
        began_early, _ = events[0]
        done.late = began_early.query() or done.late
        return took

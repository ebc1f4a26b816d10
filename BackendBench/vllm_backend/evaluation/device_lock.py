"""Who may use the device: many that compile and check, or one that is timed.

- A timing waits until the others have left the device and then has it alone.
- Somebody who waits for a timing goes before newcomers, so that timings do not starve.
- Timings go in batches: each change from checking to timing costs as long as the slowest of those who check. After a
  batch everybody who waits to share goes, so that checking keeps feeding the timings.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable

BATCH = 4
"""Timings in a row while others wait to share: a timing and a round of checks take about 0.4 s each, so that the device
is timing four fifths of the time, and who waits to share waits two seconds."""


class DeviceLock:
    """A shared/exclusive lock for one event loop in which both sides take turns.

    ``batch``: exclusive uses in a row while somebody waits to share.
    """

    def __init__(self, batch: int = BATCH) -> None:
        self._batch = batch
        self._condition = asyncio.Condition()
        self._sharing = 0
        self._exclusive = False
        self._waiting = 0
        self._in_a_row = 0
        """Exclusive uses since others shared the device."""
        self._arrivals: set[int] = set()
        """Who waits to share, by the number of his arrival."""
        self._arrived = 0
        self._admitted = 0
        """Whoever arrived up to here goes before waiting timings."""
        self.exclusive_seconds = 0.0
        """Time spent in exclusive use so far."""
        self._leaving: set[asyncio.Future[None]] = set()

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Use the device beside others."""
        async with self._condition:
            self._arrived += 1
            mine = self._arrived
            self._arrivals.add(mine)
            try:
                await self._condition.wait_for(
                    lambda: not self._exclusive and (not self._waiting or mine <= self._admitted)
                )
            finally:
                self._arrivals.discard(mine)
                self._condition.notify_all()
            self._sharing += 1
            self._in_a_row = 0
        try:
            yield
        finally:
            async with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Have the device alone."""
        async with self._condition:
            self._waiting += 1
            try:
                await self._condition.wait_for(self._free)
            finally:
                self._waiting -= 1
                self._condition.notify_all()
            self._exclusive = True
        started = time.monotonic()
        try:
            yield
        finally:
            self.exclusive_seconds += time.monotonic() - started
            async with self._condition:
                self._exclusive = False
                self._in_a_row += 1
                if self._in_a_row >= self._batch:
                    self._admitted = self._arrived
                self._condition.notify_all()

    def _free(self) -> bool:
        """Nobody uses the device, and nobody is to use it before the next timing."""
        admitted = any(mine <= self._admitted for mine in self._arrivals)
        return not (self._exclusive or self._sharing or admitted)

    def leave_until(self, gone: Awaitable[object]) -> None:
        """Whoever has the device alone says what of him is still there when he leaves: others may share the device
        with it, nobody has it alone before ``gone``."""
        self._sharing += 1
        leaving = asyncio.ensure_future(self._left(gone))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _left(self, gone: Awaitable[object]) -> None:
        try:
            await gone
        finally:
            async with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

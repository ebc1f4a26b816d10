"""Who may use the device: many that compile and check, or one that is timed.

- A timing waits until the others have left the device and then has it alone.
- Somebody who waits for a timing goes before newcomers, so that timings do not starve.
- Whoever waited for one timing goes before the next: what compiles and checks keeps feeding the timings.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable


class DeviceLock:
    """A shared/exclusive lock for one event loop in which both sides take turns."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._sharing = 0
        self._exclusive = False
        self._waiting = 0
        self._timed = 0
        """Exclusive uses that have ended."""
        self._arrivals: list[int] = []
        """Of each who waits to share the device: the exclusive uses that had ended when he came."""
        self.exclusive_seconds = 0.0
        """Time spent in exclusive use so far."""
        self._leaving: set[asyncio.Future[None]] = set()

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Use the device beside others."""
        async with self._condition:
            came = self._timed
            self._arrivals.append(came)
            try:
                await self._condition.wait_for(
                    lambda: not self._exclusive and (not self._waiting or came < self._timed)
                )
            finally:
                self._arrivals.remove(came)
                self._condition.notify_all()
            self._sharing += 1
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
                self._timed += 1
                self._condition.notify_all()

    def _free(self) -> bool:
        """Nobody uses the device, and nobody has waited for a timing already."""
        waited = any(came < self._timed for came in self._arrivals)
        return not (self._exclusive or self._sharing or waited)

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

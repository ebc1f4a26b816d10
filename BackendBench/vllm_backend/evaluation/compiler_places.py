"""Cores to compile on: a candidate takes one for each of its compiling threads, first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class CompilerPlaces:
    """``count`` places of one event loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.free = count
        self._turn = asyncio.Lock()  # hands over in the order of arrival
        self._returned = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, least: int, most: int) -> AsyncIterator[int]:
        """Wait for ``least`` places, or for all where there are fewer; yields how many were taken, at most ``most``."""
        least = min(least, self.count)
        async with self._turn:
            while self.free < least:
                self._returned.clear()
                await self._returned.wait()
            mine = min(max(least, most), self.free)
            self.free -= mine
        try:
            yield mine
        finally:
            self.free += mine
            self._returned.set()

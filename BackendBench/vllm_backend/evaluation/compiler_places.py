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
    async def taken(self, most: int) -> AsyncIterator[int]:
        """Wait for a place; yields how many were taken: up to ``most``, and no more than half of the free ones, that
        who comes next need not wait."""
        async with self._turn:
            while not self.free:
                self._returned.clear()
                await self._returned.wait()
            mine = max(1, min(most, self.free // 2))
            self.free -= mine
        try:
            yield mine
        finally:
            self.free += mine
            self._returned.set()

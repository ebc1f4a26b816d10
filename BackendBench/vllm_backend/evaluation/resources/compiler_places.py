"""Cores to compile on: a candidate has one for each of its compiling threads, first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class CompilerPlaces:
    """``count`` places of one event loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.free = count
        self.waiting = 0
        self._turn = asyncio.Lock()  # hands over in the order of arrival
        self._returned = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[Taken]:
        """Wait for a place and have it."""
        self.waiting += 1
        try:
            async with self._turn:
                while not self.free:
                    self._returned.clear()
                    await self._returned.wait()
                self.free -= 1
        finally:
            self.waiting -= 1
        mine = Taken(self)
        try:
            yield mine
        finally:
            self.give_back(mine.places)

    def give_back(self, places: int) -> None:
        """So many are free again."""
        self.free += places
        self._returned.set()


class Taken:
    """The places of one candidate, at least one."""

    def __init__(self, of: CompilerPlaces) -> None:
        self._of = of
        self.places = 1

    def adjust(self, most: int) -> int:
        """Have as many as are idle, up to ``most``, and no more than half of the free ones, that who comes next need
        not wait; only one while somebody waits. Returns their number."""
        more = 0 if self._of.waiting else min(most - self.places, self._of.free // 2)
        if self._of.waiting or more < 0:
            more = 1 - self.places
        self.places += more
        self._of.free -= more
        if more < 0:
            self._of.give_back(0)
        return self.places

"""The requests of a group, side by side: results as they come, all ended together.

- Results are handed on in the order in which they are finished.
- The first error ends the group, after what was finished at the same moment was handed on.
- ``abort`` ends a group early and without an error. Whatever ends it, no request of it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class FanOut(Generic[T]):
    """The groups that are under way in one engine."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[T]]] = {}
        self._aborted: set[str] = set()

    async def run(self, group: str, requests: Sequence[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
        """The results of ``requests`` as they are finished."""
        if group in self._tasks:
            for request in requests:
                request.close()
            raise ValueError(f"group {group} is under way already")
        pending = {asyncio.ensure_future(request) for request in requests}
        self._tasks[group] = set(pending)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                failed = None
                for task in done:
                    if task.cancelled():
                        continue
                    if task.exception() is None:
                        yield task.result()
                    else:
                        failed = task.exception()
                if group in self._aborted:
                    return
                if failed is not None:
                    raise failed
        finally:
            await self._end(group)

    async def abort(self, group: str) -> None:
        """End a group; nothing happens when there is none of this name."""
        if group in self._tasks:
            self._aborted.add(group)
            await _cancelled(self._tasks[group])

    async def abort_all(self) -> None:
        """End every group."""
        for group in list(self._tasks):
            await self.abort(group)

    async def _end(self, group: str) -> None:
        tasks = self._tasks.pop(group, set())
        self._aborted.discard(group)
        await _cancelled(tasks)


async def _cancelled(tasks: set[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)

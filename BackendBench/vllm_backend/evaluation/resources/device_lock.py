"""Who may use the device: many that compile and check, or one that is timed.

- A timing waits until the others have left the device. Of whom was timed before something may still be there: ``alone``
  waits until nothing is.
- Timings go in batches: each change from checking to timing costs as long as the slowest of those who check. Newcomers
  share the device until a batch is ready or a timing has waited long; then it is the timings' *turn*, and newcomers
  wait. After a batch everybody who waits to share goes.
- Somebody who shares for long (a kernel that hangs) holds the turn up anyway: meanwhile newcomers go in as well, and so
  they do, a few times over, where one of those stays for long.
- On a CPU he does not: his process is stopped while others are timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Protocol

BATCH = 8
"""Timings in a row while others wait to share. A timing takes about 0.15 s on a GPU, and until the last of those who
check has left takes 0.3 to 0.5 s, which is then a fourth of a batch."""
PATIENCE_SECONDS = 2.0
"""How long a timing waits for a full batch."""
SOLE_SECONDS = 2.0
"""How long somebody who shares the device waits until the others have left. They are few then, and slow if he hangs."""
LONG_SECONDS = 0.6
"""Nearly all who check have left by then."""
LOOK_SECONDS = 0.05
"""Between two looks whether somebody can be stopped."""
MOST_GENERATIONS = 4
"""Of newcomers, each let in by one of the generation before who stays for long: without a bound timings could wait for
ever."""


class Process(Protocol):
    """What uses the device."""

    def kill(self) -> None:
        """End it."""

    async def gone(self) -> bool:
        """Wait until it has ended."""

    @property
    def stoppable(self) -> bool:
        """Whether nothing is done for it now but by itself."""

    def stop(self) -> None:
        """Have it do nothing."""

    def go_on(self) -> None:
        """After ``stop``."""


class DeviceLock:
    """A shared/exclusive lock for one event loop in which both sides take turns.

    ``batch``: exclusive uses in a row while somebody waits to share. ``stopping``: whether processes that share for
    long are stopped while somebody is alone; what a GPU works on cannot be. The others: seconds, see the constants.
    """

    def __init__(
        self,
        batch: int = BATCH,
        patience: float = PATIENCE_SECONDS,
        long: float = LONG_SECONDS,
        sole: float = SOLE_SECONDS,
        stopping: bool = False,
    ) -> None:
        self._stopping = stopping
        self._slow: list[Process] = []
        """Who shares the device for long, and is to be stopped where he can be."""
        self._batch, self._patience, self._long, self._sole = batch, patience, long, sole
        self._condition = asyncio.Condition()
        self._sharing = 0
        self._barred = 0
        """Who shares the device and waits until the others have left."""
        self._leaving = 0
        """Who uses the device no more, but is still there."""
        self._exclusive = False
        self._waiting = 0
        self._timed = 0
        """Of those who wait for the device, who is to be timed."""
        self._impatient = 0
        """Of those who wait for a timing, who has waited long."""
        self.timings_turn = False
        """Whether newcomers wait."""
        self._in_a_row = 0
        """Exclusive uses in this turn."""
        self._arrivals: set[int] = set()
        """Who waits to share, by the number of his arrival."""
        self._arrived = 0
        self._admitted = 0
        """Whoever arrived up to here goes before waiting timings."""
        self._stragglers = 0
        """Who has shared the device for long and keeps the timings waiting."""
        self._generation = 0
        """Of the youngest straggler of this turn; 0: he came before it."""
        self.exclusive_seconds = 0.0
        """Time spent in exclusive use so far."""
        self._tasks: set[asyncio.Future[None]] = set()

    @contextlib.asynccontextmanager
    async def shared(self, process: Process | None = None) -> AsyncIterator[None]:
        """Use the device beside others. ``process``: all that does, if it is only one."""
        async with self._condition:
            self._arrived += 1
            mine = self._arrived
            self._arrivals.add(mine)
            try:
                await self._condition.wait_for(lambda: self._may_share(mine))
            finally:
                self._arrivals.discard(mine)
                self._condition.notify_all()
            self._sharing += 1
            late = self.timings_turn and mine > self._admitted
            generation = self._generation + 1 if late else 0
        slow, again = partial(self._straggle, generation), 0.0
        if process is not None and self._stopping:
            slow, again = partial(self._note_slow, process), LOOK_SECONDS
        try:
            with self._counted_after(self._long, slow, again):
                yield
        finally:
            async with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

    @contextlib.asynccontextmanager
    async def shared_by(self, process: Process) -> AsyncIterator[None]:
        """``shared`` for a process: where it fails it is killed, and counts as there until it is gone."""
        async with self.shared(process):
            with self._ended_where_it_fails(process):
                yield

    @contextlib.asynccontextmanager
    async def sole(self, answer: asyncio.Future[Any]) -> AsyncIterator[bool]:
        """For who shares the device and waits for an ``answer``: nobody else enters, and who is there leaves. Yields
        whether all have left, once they have, or the answer is there, or it takes too long: of two who wait for answers
        that never come none leaves."""
        self._barred += 1
        answer.add_done_callback(lambda _: self._look_again_soon())
        late = False

        def count(more: int) -> None:
            nonlocal late
            late = late or more > 0

        try:
            async with self._condition:
                with self._counted_after(self._sole, count):
                    await self._condition.wait_for(lambda: self._one() or answer.done() or late)
                alone = self._one()
            yield alone
        finally:
            self._barred -= 1
            self._look_again_soon()

    def _one(self) -> bool:
        return self._sharing <= 1 and not self._leaving

    @contextlib.asynccontextmanager
    async def exclusive_by(self, process: Process, timed: bool = False) -> AsyncIterator[None]:
        """``exclusive`` for a process, likewise."""
        async with self.exclusive(timed):
            with self._ended_where_it_fails(process):
                yield

    @contextlib.contextmanager
    def _ended_where_it_fails(self, process: Process) -> Iterator[None]:
        try:
            yield
        except BaseException:
            process.kill()
            self.leave_until(process.gone())
            raise

    def _may_share(self, mine: int) -> bool:
        return not (self._exclusive or self._barred) and (
            not self.timings_turn or mine <= self._admitted or self._stragglers > 0
        )

    @contextlib.asynccontextmanager
    async def exclusive(self, timed: bool = False) -> AsyncIterator[None]:
        """Have the device before everybody else, and once those who leave are gone, see ``alone``, for oneself.
        ``timed``: see ``another_follows``."""
        async with self._condition:
            self._waiting += 1
            self._timed += timed
            self._take_turn()
            try:
                with self._counted_after(self._patience, self._grow_impatient):
                    await self._condition.wait_for(self._free)
            finally:
                self._waiting -= 1
                self._timed -= timed
                if not self._waiting:
                    self.timings_turn, self._generation = False, 0
                self._condition.notify_all()
            self._exclusive = self.timings_turn = True
            stopped = [process for process in self._slow if process.stoppable]
        started = time.monotonic()
        try:
            for process in stopped:
                process.stop()
            yield
        finally:
            self.exclusive_seconds += time.monotonic() - started
            for process in stopped:
                process.go_on()
            async with self._condition:
                self._exclusive = False
                self._in_a_row += 1
                if self._in_a_row >= self._batch or not self._waiting:
                    self._end_turn()
                self._condition.notify_all()

    def another_follows(self) -> bool:
        """For who is timed: whether the next one who has the device is timed as well."""
        return 0 < self._waiting == self._timed and self._in_a_row + 1 < self._batch

    async def alone(self) -> None:
        """Wait until nobody is there any more, for who has the device exclusively."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._leaving)

    def _take_turn(self) -> None:
        """Make it the timings' turn where it is due."""
        if self._waiting and (self._waiting >= self._batch or self._impatient):
            self.timings_turn = True

    def _end_turn(self) -> None:
        self._in_a_row = self._generation = 0
        self._admitted = self._arrived
        self.timings_turn = False
        self._take_turn()

    def _free(self) -> bool:
        """Nobody uses the device who cannot be stopped, and nobody is to use it before the next timing."""
        admitted = any(mine <= self._admitted for mine in self._arrivals)
        stoppable = sum(process.stoppable for process in self._slow)
        return not (self._exclusive or self._sharing > stoppable or admitted)

    @contextlib.contextmanager
    def _counted_after(
        self, seconds: float, count: Callable[[int], None], again: float = 0.0
    ) -> Iterator[None]:
        """Call ``count`` with 1 a while after this begins, and then with -1 when it ends. ``again``: seconds after
        which to look once more, and so on; 0: never."""
        loop, late = asyncio.get_running_loop(), False
        timer: asyncio.TimerHandle

        def act() -> None:
            nonlocal late, timer
            if not late:
                late = True
                count(1)
            self._look_again_soon()
            if again:
                timer = loop.call_later(again, act)

        timer = loop.call_later(seconds, act)
        try:
            yield
        finally:
            timer.cancel()
            if late:
                count(-1)

    def _straggle(self, generation: int, more: int) -> None:
        if generation < MOST_GENERATIONS:
            self._stragglers += more
            self._generation = max(self._generation, generation)

    def _note_slow(self, process: Process, more: int) -> None:
        """It cannot be stopped at any time: not while the judge compares what it answered or draws what comes next."""
        if more > 0:
            self._slow.append(process)
        else:
            self._slow.remove(process)

    def _grow_impatient(self, more: int) -> None:
        self._impatient += more
        self._take_turn()

    def _look_again_soon(self) -> None:
        self._keep(asyncio.ensure_future(self._look_again()))

    async def _look_again(self) -> None:
        async with self._condition:
            self._condition.notify_all()

    def leave_until(self, gone: Awaitable[object]) -> None:
        """Whoever uses the device says what of him is still there when he leaves: others may share the device with it,
        nobody is alone before ``gone``."""
        self._leaving += 1
        self._keep(asyncio.ensure_future(self._left(gone)))

    async def _left(self, gone: Awaitable[object]) -> None:
        try:
            await gone
        finally:
            async with self._condition:
                self._leaving -= 1
                self._condition.notify_all()

    def _keep(self, task: asyncio.Future[None]) -> None:
        """The event loop itself keeps no task alive."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

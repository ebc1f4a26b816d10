"""Eager's side of every timing: trusted processes and their memory, kept from candidate to candidate.

- Making a process, its arenas and their mapping takes longer than timing a small workload; so they are kept and made
  anew only when something failed, or when the next candidate needs more room. No candidate ever has these arenas.
- On a GPU there are two of them, by turns: in each the same kernel takes longer or shorter by a constant
  (interval.PROCESS_US), and that of a single one would lie in every speedup that a judge ever reports.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from ...operations.operation import Operation
from ..memory.shared_calls import Buffers
from ..processes.session import Session
from ..processes.warm_pool import WarmPool
from ..resources import cores, own_cores
from ..resources.own_cores import OwnCores
from .bench import Bench
from .lane import Lane

LOAD_SECONDS = 60.0
KEPT_BYTES = 2 << 30
"""Larger memory is given back after the candidate that needed it."""


async def attached(
    session: Session, room: tuple[int, int], device: torch.device, limit: float, shared: bool = True
) -> Buffers:
    """Arenas of this room, (bytes of inputs, of outputs), mapped by the session's process instead of those before.

    Raises CandidateFailed, InfrastructureFault; the process is dead then.
    """
    session.stage = "mapping its memory"
    buffers = Buffers(*room, device, shared)
    try:
        buffers.scrub()
        await session.attach(buffers, limit)
    except BaseException:
        session.kill()
        buffers.close(reuse=await session.gone())  # who maps it must be gone before it is freed
        raise
    return buffers


class EagerSide:
    """See the module's docstring. Used by one timing at a time."""

    def __init__(self, pool: WarmPool, device: torch.device, limit: float, processes: int = 1) -> None:
        self._processes = [EagerProcess(pool, device, limit) for _ in range(processes)]

    async def lanes(self, operation: Operation, room: tuple[int, int], single: bool = False) -> list[Lane]:
        """Eager of ``operation`` in each process, with at least this room; ``single``: in one, since there is no memory
        for more. Raises InfrastructureFault."""
        return [await process.lane(operation, room) for process in self._processes[: 1 if single else None]]

    async def rehearse(
        self, operation: Operation, room: tuple[int, int], benches: Sequence[Bench], rng: random.Random
    ) -> None:
        """Call eager on every workload ahead of need: the first calls in a process take longest. Raises
        InfrastructureFault."""
        for process in self._processes:
            await process.rehearse(operation, room, benches, rng)

    async def release(self) -> None:
        """Give memory back that not many need. Raises InfrastructureFault."""
        for process in self._processes:
            await process.release()

    async def drop(self) -> None:
        """End the processes, because something failed; the next timing makes others."""
        for process in self._processes:
            await process.drop()

    def holds(self, room: tuple[int, int]) -> bool:
        """Whether their memory has at least this room."""
        return all(process.holds(room) for process in self._processes)


class EagerProcess:
    """One of them."""

    def __init__(self, pool: WarmPool, device: torch.device, limit: float) -> None:
        self._pool, self._device, self._limit = pool, device, limit
        self._session: Session | None = None
        self._buffers: Buffers | None = None
        self._loaded = ("", "")
        """Name and source of the operation."""
        self._warm: dict[tuple[str, str], set[str]] = {}
        """Workloads of each operation that the process has been called on."""
        self._own_cores: OwnCores | None = None

    async def lane(self, operation: Operation, room: tuple[int, int]) -> Lane:
        """See ``EagerSide.lanes``."""
        session = await self._running(operation)
        if not self.holds(room):
            await self._replace(session, self._grown(room))
        assert self._buffers is not None
        warm = self._warm.setdefault(self._loaded, set())
        return Lane(session, self._buffers, self._limit, warm=warm, own_cores=self._own_cores)

    async def rehearse(
        self, operation: Operation, room: tuple[int, int], benches: Sequence[Bench], rng: random.Random
    ) -> None:
        """See ``EagerSide``."""
        try:
            lane = await self.lane(operation, room)
            for bench in benches:
                await lane.run(bench, bench.fresh(rng, bench.calls), bench.calls, stage="a rehearsal")
                lane.warm.add(bench.workload.name)
            lane.wake()
            await self.release()
        except BaseException:
            await self.drop()
            raise

    async def release(self) -> None:
        """See ``EagerSide``."""
        if self._session is None or self._buffers is None or sum(self._buffers.room) <= KEPT_BYTES:
            return
        try:
            await self._replace(self._session, (0, 0))
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """See ``EagerSide``."""
        session, buffers = self._session, self._buffers
        self._session = self._buffers = None
        if session is not None:
            session.kill()
            await session.gone()
        if buffers is not None:
            buffers.close()

    async def _running(self, operation: Operation) -> Session:
        if self._session is None:
            self._session = await self._pool.session(eager=True)
            self._session.trusted = True
            cores.move(self._session.pid, self._pool.cores.timing)
            self._loaded, self._warm = ("", ""), {}
            self._own_cores = own_cores.for_device(self._device.type)
        if self._loaded != (operation.name, operation.source):
            await self._session.request(
                "load_reference", LOAD_SECONDS, operation=operation.name, source=operation.source,
                overload=operation.overload,
            )  # fmt: skip
            self._loaded = (operation.name, operation.source)
        return self._session

    def holds(self, room: tuple[int, int]) -> bool:
        """Whether its memory has at least this room."""
        return self._buffers is not None and self._buffers.hold(room)

    def _grown(self, room: tuple[int, int]) -> tuple[int, int]:
        """This room, and no less on either side than there is now, lest operations that need more of the one and of the
        other have it made anew by turns."""
        if self._buffers is None:
            return room
        grown = (max(room[0], self._buffers.room[0]), max(room[1], self._buffers.room[1]))
        return grown if sum(grown) <= KEPT_BYTES else room

    async def _replace(self, session: Session, room: tuple[int, int]) -> None:
        """The old memory is freed after its user has unmapped it: the other way round is undefined on a GPU."""
        old = self._buffers
        self._buffers = await attached(session, room, self._device, self._limit, shared=False)
        if old is not None:
            old.close()

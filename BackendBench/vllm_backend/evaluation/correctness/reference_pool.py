"""What the judge knows about each operation: cases with answers and workloads, kept while they are used.

- Two sets per operation with different secret seeds: one for the first examination, one for the confirmation.
- Candidates never see answers, and every block of a timing has new values; so a set may serve many candidates.
  It is made anew after ``USES`` all the same, that no long run rests on one draw.
- Making a set computes on the device, so it holds the device's lock (shared).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, is_dataclass
from functools import cached_property

import torch

from ...operations.operation import Operation
from ..memory.calls import UnshippableCall
from ..resources.device_lock import DeviceLock
from ..timing import bench, huge_bench
from . import case_plan, huge

USES = 100
LEAST_KEPT = 2
"""Sets that are kept whatever they take: as many as one operation has."""

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """One operation ready to be judged with."""

    operation: Operation
    plan: case_plan.CasePlan
    benches: list[bench.Bench]
    packets: list[str]
    """aten packets that a candidate may not call although they are only allocation or views: the operation's own."""
    uses: int = 0

    @cached_property
    def size(self) -> int:
        """Bytes of all its tensors."""
        return sum(storages_of(self).values())

    @property
    def huge(self) -> bool:
        """Whether one candidate alone takes gigabytes of the device's memory."""
        return max(sum(self.plan.room), sum(self.bench_room) if self.benches else 0) > huge.HUGE_BYTES

    @property
    def bench_room(self) -> tuple[int, int]:
        """Bytes of the largest block: (inputs, outputs)."""
        return (
            max(b.layout.input_bytes for b in self.benches),
            max(b.layout.output_bytes for b in self.benches),
        )


def storages_of(held: object) -> dict[int, int]:
    """The memory of all tensors in nested data classes, lists, tuples and dicts: bytes by address."""
    if isinstance(held, torch.Tensor):
        storage = held.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    if isinstance(held, dict):
        parts = list(held.values())
    elif isinstance(held, list | tuple):
        parts = list(held)
    else:
        parts = list(vars(held).values()) if is_dataclass(held) else []
    found: dict[int, int] = {}
    for part in parts:
        found.update(storages_of(part))
    return found


class ReferencePool:
    """Sets are dropped where all of them take more than ``budget`` bytes."""

    def __init__(self, device: torch.device, seed: int | None, budget: int) -> None:
        self._device = device
        self._seed = seed
        self._budget = budget
        self._made = 0
        self._sets: OrderedDict[tuple[str, bool], Prepared] = OrderedDict()
        self._locks: dict[tuple[str, bool], asyncio.Lock] = {}

    async def get(self, operation: Operation, device_lock: DeviceLock, other: bool = False) -> Prepared:
        """The set for ``operation``; ``other`` selects the one with the other seed."""
        key = (operation.name, other)
        async with self._locks.setdefault(key, asyncio.Lock()):
            prepared = self._sets.get(key)
            if prepared is None or prepared.uses >= USES or prepared.operation.source != operation.source:
                async with device_lock.shared():
                    prepared = await asyncio.to_thread(self._counted, operation)
                self._sets[key] = prepared
        self._sets.move_to_end(key)
        while len(self._sets) > LEAST_KEPT and self.held > self._budget:
            del self._sets[self._in_order()[0]]
        prepared.uses += 1
        return prepared

    def _in_order(self) -> list[tuple[str, bool]]:
        """In which they are dropped: first those of confirmations, which few candidates need, then those that were not
        used for longest. Where operations come by turns and not all fit, each would else be made anew each time. So one
        of a confirmation has no first one dropped: it is not kept itself."""
        return sorted(self._sets, key=lambda key: not key[1])

    @property
    def held(self) -> int:
        """Bytes of all sets."""
        return sum(prepared.size for prepared in self._sets.values())

    def has_room(self, more: int) -> bool:
        """Whether so many more sets would have none dropped, if they are like these."""
        return not self._sets or self.held * (len(self._sets) + more) <= self._budget * len(self._sets)

    def forget(self, operation: str) -> None:
        """Drop the sets of an operation that will not come again."""
        for other in (False, True):
            self._sets.pop((operation, other), None)

    def shrink(self) -> None:
        """Drop half of them: their memory is needed. Whoever uses one keeps it until he is done."""
        for key in self._in_order()[: len(self._sets) // 2]:
            del self._sets[key]

    def _draw(self) -> int:
        self._made += 1
        return (
            secrets.randbits(31) if self._seed is None else (self._seed * 7919 + self._made * 104729) % 2**31
        )

    def _counted(self, operation: Operation) -> Prepared:
        """Made, and its tensors counted, which takes 50 ms."""
        prepared = self._make(operation)
        log.debug("references of %s take %d bytes", operation.name, prepared.size)
        return prepared

    def _make(self, operation: Operation) -> Prepared:
        seed = self._draw()
        with torch.no_grad():
            plan = case_plan.prepare(operation, self._device, seed)
            if self._device.type == "cuda":
                plan.warm()
            benches = []
            for workload in operation.make_workloads(self._device):
                try:
                    eager_us = self._eager_us(operation, workload, seed)
                    make = huge_bench.prepare if huge_bench.is_huge(workload) else bench.prepare
                    ready = make(operation, workload, self._device, seed, eager_us)
                except (UnshippableCall, torch.OutOfMemoryError) as error:
                    log.warning("workload %s of %s left out: %s", workload.name, operation.name, error)
                    continue
                if ready is not None:
                    benches.append(ready)
        packet = operation.overload.split(".")[0]
        return Prepared(operation, plan, benches, [packet] if packet else [])

    def _eager_us(self, operation: Operation, workload: object, seed: int) -> float:
        """A rough time of one eager call; sizes blocks, never reported."""
        generator = torch.Generator(device=self._device)
        generator.manual_seed(seed)
        call = workload.make(self._device, generator)  # type: ignore[attr-defined]
        best = float("inf")
        for _ in range(3):
            self._settle()
            started = time.perf_counter()
            operation.reference(*call.args, **call.kwargs)
            self._settle()
            best = min(best, time.perf_counter() - started)
        return best * 1e6

    def _settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

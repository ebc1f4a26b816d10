"""Disposable memory that the judge shares with one candidate.

- The judge makes it, sizes it and seals it: a candidate can write into it, never resize it
  (a shrunk mapping would kill the judge with SIGBUS).
- CPU: a sealed memfd. GPU: a plain device allocation, shared by a CUDA IPC handle.
- Nothing in an arena is trusted: the judge keeps its own copy of inputs and references.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from . import sealed

POISON = 0xCB
"""Fills outputs before every run: -2.6e7 as float32, so an element that nobody wrote cannot look right."""


KEPT_BYTES = 4 << 30
"""Of unused arenas on a GPU: those of a batch of timings."""
LARGEST_KEPT = 512 << 20
LARGE_STEP = 64 << 20
MAPPED_AT_A_TIME = 2 << 20
"""Pages of a GPU have 2 MiB; smaller allocations share one."""


class Arena(Protocol):
    """Shared bytes as a 1-d uint8 tensor, and how to give them to another process."""

    tensor: torch.Tensor

    def export(self) -> tuple[dict[str, Any], list[int]]:
        """Description for ``attach`` in the other process, and descriptors to send along."""

    def scrub(self) -> None:
        """Leave nothing of whoever had it before. To be called before somebody else maps it, and not while anybody is
        timed."""

    def close(self, reuse: bool = True) -> None:
        """Release the memory; the tensor must not be used afterwards. ``reuse``: whoever had it is surely gone, so
        somebody else may have it."""


class Storable(Protocol):
    """What a store keeps."""

    size: int
    used: bool
    """Whether somebody had it."""

    def close(self) -> None:
        """Free it."""


A = TypeVar("A", bound=Storable)


class CpuArena:
    """A sealed memfd mapped into this process."""

    def __init__(self, size: int) -> None:
        self.size = max(1, -(-size // mmap.PAGESIZE)) * mmap.PAGESIZE
        self._descriptor = sealed.room("arena", self.size)
        self.tensor = _map(self._descriptor, self.size)

    def export(self) -> tuple[dict[str, Any], list[int]]:
        return {"kind": "cpu", "size": self.size}, [self._descriptor]

    def scrub(self) -> None:
        """Nobody had it."""

    def close(self, reuse: bool = True) -> None:
        self.tensor = torch.empty(0, dtype=torch.uint8)  # the mapping goes with its last view
        os.close(self._descriptor)


def _map(descriptor: int, size: int) -> torch.Tensor:
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # page faults must not be timed
    return torch.frombuffer(mmap.mmap(descriptor, size, flags=flags), dtype=torch.uint8)


class CudaArena:
    """A device allocation of its own, outside torch's caching allocator, so that its IPC handle covers it alone."""

    def __init__(self, size: int, device: torch.device) -> None:
        from cuda.bindings import driver

        self.size = size
        self.used = False
        torch.zeros(1, device=device)  # makes torch's primary context current
        self._pointer = _checked(driver.cuMemAlloc(self.size))
        self._handle = bytes(_checked(driver.cuIpcGetMemHandle(self._pointer)).reserved)
        self.tensor = _device_bytes(int(self._pointer), self.size, device)

    def export(self) -> tuple[dict[str, Any], list[int]]:
        return {"kind": "cuda", "size": self.size, "handle": self._handle.hex()}, []

    def close(self, reuse: bool = False) -> None:
        from cuda.bindings import driver

        self.tensor = torch.empty(0, dtype=torch.uint8)
        _checked(driver.cuMemFree(self._pointer))

    def scrub(self) -> None:
        """See Arena."""
        if self.used:
            self.tensor.fill_(POISON)
            torch.cuda.synchronize(self.tensor.device)
            self.used = False


class ArenaStore(Generic[A]):
    """Arenas of a GPU that nobody uses, for the next candidate: making and freeing them waits for the driver, which is
    busy with contexts, and everything in the judge would wait with them.

    Who had one before is dead by then, and whoever takes it scrubs it: nothing passes from candidate to candidate.
    """

    def __init__(self, make: Callable[[int], A]) -> None:
        self._make = make
        self._free: dict[int, list[A]] = {}
        self._kept = 0

    def take(self, size: int) -> A:
        """An arena of at least ``size`` bytes."""
        wanted = rounded(size)
        free = self._free.get(wanted)
        if not free:
            return self._made(wanted)
        arena = free.pop()
        self._kept -= arena.size
        return arena

    def _made(self, size: int) -> A:
        try:
            return self._make(size)
        except CudaError:  # full: perhaps of what is kept here
            for arena in [a for arenas in self._free.values() for a in arenas]:
                arena.close()
            self._free, self._kept = {}, 0
            return self._make(size)

    def give(self, arena: A) -> None:
        """Nobody uses it any more."""
        arena.used = True
        if arena.size > LARGEST_KEPT or self._kept + arena.size > KEPT_BYTES:
            arena.close()
            return
        self._free.setdefault(arena.size, []).append(arena)
        self._kept += arena.size


def rounded(size: int) -> int:
    """Sizes come in powers of two, so that one serves for many operations; large ones in steps of 64 MiB. Never less
    than what the driver maps at a time: a handle opens all of that, and nobody else's memory may lie in it."""
    if size > LARGEST_KEPT:
        return -(-size // LARGE_STEP) * LARGE_STEP
    return max(MAPPED_AT_A_TIME, 1 << max(0, size - 1).bit_length())


class Borrowed:
    """An arena of a store, for one candidate."""

    def __init__(self, store: ArenaStore[CudaArena], size: int) -> None:
        self._store = store
        self._arena = store.take(size)
        self.tensor = self._arena.tensor

    def export(self) -> tuple[dict[str, Any], list[int]]:
        return self._arena.export()

    def scrub(self) -> None:
        """See Arena."""
        self._arena.scrub()

    def close(self, reuse: bool = True) -> None:
        self.tensor = torch.empty(0, dtype=torch.uint8)
        if reuse:
            self._store.give(self._arena)
        else:
            self._arena.close()


@functools.cache
def _store(device: torch.device) -> ArenaStore[CudaArena]:
    return ArenaStore(lambda size: CudaArena(size, device))


class CudaError(RuntimeError):
    """A call of the driver failed."""


def _checked(result: Any) -> Any:
    error, *values = result
    if int(error) != 0:
        raise CudaError(f"the CUDA driver answered {error.name}")
    return values[0] if values else None


class _DeviceBytes:
    """What ``torch.as_tensor`` wants to see of foreign device memory."""

    def __init__(self, pointer: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (pointer, False),
            "version": 3,
        }


def _device_bytes(pointer: int, size: int, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(_DeviceBytes(pointer, size), device=device)


def make(size: int, device: torch.device, shared: bool = True) -> Arena:
    """An arena of at least ``size`` bytes on ``device``. ``shared``: it may have been another candidate's before, and
    may be another's later."""
    if device.type == "cpu":
        return CpuArena(size)
    return Borrowed(_store(device), size) if shared else CudaArena(rounded(size), device)


@dataclass(frozen=True)
class Attached:
    """An arena as the other process sees it."""

    tensor: torch.Tensor
    """1-d, uint8."""
    detach: Callable[[], None]
    """Unmap it; the tensor must not be used afterwards. Memory of a GPU stays taken as long as somebody maps it."""


def attach(description: dict[str, Any], descriptors: list[int], device: torch.device) -> Attached:
    """In the candidate's process: the shared bytes on ``device``."""
    if description["kind"] == "cpu":
        tensor = _map(descriptors[0], description["size"])
        os.close(descriptors[0])
        return Attached(tensor, lambda: None)  # the mapping goes with its last view
    from cuda.bindings import driver

    torch.zeros(1, device=device)
    handle = driver.CUipcMemHandle()
    handle.reserved = bytes.fromhex(description["handle"])
    pointer = _checked(driver.cuIpcOpenMemHandle(handle, 1))  # 1: lazy peer access, the only flag there is

    def detach() -> None:
        torch.cuda.synchronize(device)
        _checked(driver.cuIpcCloseMemHandle(pointer))

    return Attached(_device_bytes(int(pointer), description["size"], device), detach)

"""Has the outputs of a timed block lie somewhere else than those of the last one.

How long a kernel of a few microseconds takes depends on where its outputs lie: on an H200 tensors of a megabyte
differed by 4 %, the same ones each time. An allocator gives the calls of every block the same places, others in every
process, so that no number of blocks would tell the kernel from its luck. Here more places than are needed are kept
taken, and before each block some are given back, for the outputs to lie in.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

LARGEST_BYTES = 4 << 20
"""Of an output: a kernel that writes more takes so long that its place is lost in it."""
SMALL_BYTES = 1 << 20
"""Up to which torch's allocator asks the driver for two megabytes at a time, and waits for it each time."""
MOST_SMALL_BYTES, MOST_BYTES = 16 << 20, 64 << 20
MOST_PLACES = 64
"""Kept taken of one size of outputs."""
ROOM_BYTES = 1 << 30
"""Of a block's outputs, from which on it may need what is kept taken."""
GRAIN_BYTES = 512
MOST_LONGER_BYTES = 512 << 10
"""In which steps an allocator hands out memory, and by how much a place may be longer than an output that is no small
one, up to half of it: then outputs begin anywhere in a GPU's pages of two megabytes, in every process. Torch gives a
place that is longer by less than a megabyte away as a whole."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, less their whole parts, are spread evenly: the lengths of places are, and alike in all processes."""
KEPT_SIZES = 3
"""Sizes of outputs whose places are kept, one for each workload of most operations: places taken anew, out of what
others left, lie otherwise than those of a fresh process."""

_empty = torch.empty  # bound before any candidate code exists


@dataclass
class _Places:
    """For outputs of one size."""

    taken: list[torch.Tensor] = field(default_factory=list)
    free: list[int] = field(default_factory=list)
    """Bytes of those given back before the last block."""


class Scattered:
    """Memory of one process that is kept taken."""

    def __init__(self, device: torch.device, rng: random.Random) -> None:
        self._device, self._rng = device, rng
        self._places: OrderedDict[int, _Places] = OrderedDict()
        """By bytes of an output; the one used last is last."""
        self._full = False
        """Whether the GPU was full once: nothing more is taken then. Torch would give all back that it keeps, and the
        candidate's own outputs would have to be asked for in the midst of a block."""

    def make_room(self, sizes: Iterable[int]) -> None:
        """Before a block with outputs of these sizes, in bytes: as many places as it needs are free, others taken. Of
        larger outputs, but for very large ones, torch has the memory then: asking the driver for it takes a
        millisecond, in the midst of a block."""
        every = list(sizes)
        needed = Counter(size for size in every if 0 < size <= LARGEST_BYTES)
        if self._full or sum(every) > ROOM_BYTES:
            self._places.clear()
            return
        try:
            for size, count in needed.items():
                self._free(size, count)
                self._places.move_to_end(size)
            while len(self._places) > max(KEPT_SIZES, len(needed)):
                self._places.popitem(last=False)
        except torch.OutOfMemoryError:
            self._places.clear()
            self._full = True
        with contextlib.suppress(torch.OutOfMemoryError):
            large = [self._place(size) for size in every if size > LARGEST_BYTES]
            large.clear()

    def _free(self, size: int, count: int) -> None:
        most = min(MOST_PLACES, (MOST_SMALL_BYTES if size <= SMALL_BYTES else MOST_BYTES) // size)
        new = size not in self._places
        places = self._places.setdefault(size, _Places())
        # Where the last block's outputs lay is taken before other places are given back.
        there = len(places.taken) + len(places.free)
        lengths = sorted(places.free, reverse=True) + [length(size, k) for k in range(there, most + count)]
        if new and size > SMALL_BYTES:
            self._place(sum(lengths))  # the driver is asked once
        places.taken += [self._place(length) for length in lengths]
        self._rng.shuffle(places.taken)
        places.free = [place.numel() for place in places.taken[:count]]
        del places.taken[:count]

    def _place(self, size: int) -> torch.Tensor:
        return _empty(size, dtype=torch.uint8, device=self._device)


def length(size: int, number: int) -> int:
    """Bytes of a place for an output of ``size`` bytes."""
    longer = 0 if size <= SMALL_BYTES else min(MOST_LONGER_BYTES, size // 2)
    return size + GRAIN_BYTES * int(number * GOLDEN % 1.0 * (longer // GRAIN_BYTES + 1))

"""Has the outputs of a timed block lie somewhere else than those of the last one.

How long a kernel of a few microseconds takes depends on where its outputs lie: on an H200 tensors of a megabyte
differed by 4 %, the same ones each time. An allocator gives the calls of every block the same places, others in every
process, so that no number of blocks would tell the kernel from its luck. Here more places than are needed are kept
taken, and before each block some are given back, for the outputs to lie in.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import torch

LARGEST_BYTES = 4 << 20
"""Of an output: a kernel that writes more takes so long that its place is lost in it."""
SMALL_BYTES = 1 << 20
"""Up to which torch's allocator asks the driver for two megabytes at a time, and waits for it each time."""
MOST_SMALL_BYTES, MOST_BYTES = 16 << 20, 128 << 20
MOST_PLACES = 64
"""Kept taken of one size of outputs."""

_empty = torch.empty  # bound before any candidate code exists


class Scattered:
    """Memory of one process that is kept taken."""

    def __init__(self, device: torch.device, rng: random.Random) -> None:
        self._device, self._rng = device, rng
        self._taken: dict[int, list[torch.Tensor]] = {}
        """By bytes of each."""

    def make_room(self, sizes: Iterable[int]) -> None:
        """Before a block with outputs of these sizes, in bytes: as many places as it needs are free, others taken."""
        needed = Counter(size for size in sizes if 0 < size <= LARGEST_BYTES)
        for size in self._taken.keys() - needed.keys():
            del self._taken[size]
        try:
            for size, count in needed.items():
                self._free(size, count)
        except torch.OutOfMemoryError:  # the candidate may need it
            self._taken.clear()

    def _free(self, size: int, count: int) -> None:
        most = min(MOST_PLACES, (MOST_SMALL_BYTES if size <= SMALL_BYTES else MOST_BYTES) // size)
        if size not in self._taken and size > SMALL_BYTES:
            self._place((most + count) * size)  # the driver is asked once
        taken = self._taken.setdefault(size, [])
        # Where the last block's outputs lay is free: it is taken before other places are given back.
        taken += [self._place(size) for _ in range(most + count - len(taken))]
        self._rng.shuffle(taken)
        del taken[most:]

    def _place(self, size: int) -> torch.Tensor:
        return _empty(size, dtype=torch.uint8, device=self._device)

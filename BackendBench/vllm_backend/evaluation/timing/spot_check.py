"""Which elements of a block's outputs are compared: drawn secretly for every pair, read on both sides, held together.

- One call, chosen secretly, is compared whole, or of a large output at a million places: whoever leaves out a
  hundred-thousandth of the work is seen there in every pair.
- On a GPU, where work may go on after a reply, also every other call at a few places each: what is missing or late
  shows there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..correctness import outputs
from ..memory import calls
from ..memory.shared_calls import Layout, read
from .bench import STRICTLY_COMPARED
from .lane import Keep

SAMPLED = 4096
"""Elements of each output of each call: who leaves out a thousandth of the work is seen in 98 of 100 calls."""


@dataclass(frozen=True)
class Spots:
    """The places of one pair."""

    layout: Layout
    chosen: int
    """The call that is compared whole."""
    many: list[torch.Tensor | None]
    """Per output of the chosen call the elements that stand for all of it; None: all."""
    few: list[torch.Tensor] | None
    """Per output the elements that are compared of every call; None on a CPU, where nothing goes on unseen."""

    def keep(self, count: int) -> Keep:
        """To keep these places of a block of ``count`` calls; the same order on both sides."""

        def kept(memory: torch.Tensor) -> list[torch.Tensor]:
            item = self.layout.items[self.chosen]
            chosen = [_picked(t, where) for t, where in zip(read(memory, item), self.many, strict=True)]
            if self.few is None:
                return chosen
            return chosen + [
                every_call(memory, self.layout, count, output)[:, where]
                for output, where in enumerate(self.few)
                if where.numel()
            ]

        return kept


def draw(layout: Layout, count: int, device: torch.device, rng: random.Random) -> Spots:
    """Secret places for a pair whose shorter block has ``count`` calls."""
    chosen = rng.randrange(count)
    sizes = [torch.Size(place.shape).numel() for place in layout.items[chosen].outputs]
    if device.type == "cpu":
        return Spots(layout, chosen, [None for _ in sizes], None)
    generator = torch.Generator(device).manual_seed(rng.getrandbits(62))

    def places(size: int, most: int) -> torch.Tensor:
        return torch.randint(max(1, size), (min(size, most),), generator=generator, device=device)

    many = [places(n, STRICTLY_COMPARED) if n > STRICTLY_COMPARED else None for n in sizes]
    return Spots(layout, chosen, many, [places(n, SAMPLED) for n in sizes])


def agree(pairs: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]]) -> torch.Tensor:
    """Whether what was kept of eager's blocks and the candidate's agrees as roughly as a timed call must; calls that
    only one of two blocks has are left out. What is alike is compared together, each block's by its own magnitude. A
    bool scalar on the device."""
    alike: dict[tuple[int, torch.Size], tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for eager, candidate in pairs:
        for position, (one, other) in enumerate(zip(eager, candidate, strict=True)):
            common = one[: len(other)] if one.dim() and len(one) > len(other) else one
            expected, produced = alike.setdefault((position, common.shape), ([], []))
            expected.append(common)
            produced.append(other)
    return outputs.roughly_equal(
        [_rows(produced) for _, produced in alike.values()],
        [_rows(expected) for expected, _ in alike.values()],
    )


def _rows(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """One row for each, without copying a single one: on a CPU it is a whole output."""
    return torch.stack(list(parts)) if len(parts) > 1 else parts[0][None]


def reserve(layout: Layout, count: int, device: torch.device, pairs: int) -> None:
    """Have torch's allocator hold memory for what is kept of so many pairs of blocks: asking the driver for it takes as
    long as a block, and would count as the candidate's."""
    if device.type == "cpu":
        return
    kept = []
    for place in layout.items[0].outputs:
        size, dtype = torch.Size(place.shape).numel(), calls.dtype_of(place.dtype)
        for shape in [(min(size, STRICTLY_COMPARED),), (count, min(size, SAMPLED))]:
            kept += [torch.empty(shape, dtype=dtype, device=device) for _ in range(2 * pairs)]


def every_call(memory: torch.Tensor, layout: Layout, count: int, output: int) -> torch.Tensor:
    """One output of the first ``count`` calls of a layout whose calls are alike: (count, elements), a view of the
    output memory."""
    places = [item.outputs[output] for item in layout.items[:count]]
    first = places[0]
    size = torch.Size(first.shape).numel()
    dtype = calls.dtype_of(first.dtype)
    step = (places[1].start - first.start) // dtype.itemsize if count > 1 else size
    end = places[-1].start + size * dtype.itemsize
    flat = memory[first.start : end].view(dtype)
    return flat.as_strided((count, size), (step, 1), flat.storage_offset())


def _picked(output: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    """A copy on a GPU, else a view."""
    if where is not None:
        return output.reshape(-1)[where]
    return output.clone() if output.is_cuda else output

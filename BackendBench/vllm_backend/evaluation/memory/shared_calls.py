"""A set of calls laid out in a pair of arenas: inputs to one side, places for outputs on the other.

- The layout (places, argument trees) depends on shapes only and is made once; values are written before every use.
- The judge's pristine tensors never leave its process; a candidate sees copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...operations.operation import Call
from . import arena, calls

WORD = 8


@dataclass(frozen=True)
class LaidOut:
    """One call of a layout."""

    request: dict[str, Any]
    """What the candidate is sent: the argument tree and its places."""
    inputs: tuple[calls.Place, ...]
    outputs: tuple[calls.Place, ...]


@dataclass
class Layout:
    """Several calls side by side in one input and one output arena."""

    items: list[LaidOut]
    input_bytes: int
    output_bytes: int
    """Whole words, which are compared at a time."""

    def request(self, indices: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The calls as the candidate is sent them."""
        chosen = range(len(self.items)) if indices is None else indices
        return [self.items[i].request for i in chosen]


def tensors_of(call: Call) -> list[torch.Tensor]:
    """The tensors of a call in packing order, conjugate and negative bits resolved."""
    packing = calls.Packing()
    calls.pack(call, packing)
    return packing.tensors


def lay_out(items: Sequence[tuple[Call, Sequence[torch.Tensor]]]) -> Layout:
    """Places for calls and for outputs shaped like the given expected ones. Raises UnshippableCall."""
    input_bytes = output_bytes = 0
    laid_out = []
    for call, expected in items:
        inputs, outputs = calls.Packing(cursor=input_bytes), calls.Packing(cursor=output_bytes)
        tree = calls.pack(call, inputs)
        for tensor in expected:
            outputs.add_dense(tensor)
        request = {
            "call": tree,
            "in": [p.to_json() for p in inputs.places],
            "out": [p.to_json() for p in outputs.places],
        }
        laid_out.append(LaidOut(request, tuple(inputs.places), tuple(outputs.places)))
        input_bytes, output_bytes = inputs.cursor, outputs.cursor
    return Layout(laid_out, _words(input_bytes), _words(output_bytes))


def _words(size: int) -> int:
    return -(-size // WORD) * WORD


class Buffers:
    """The two arenas of one session, made by the judge and attached by the candidate."""

    def __init__(
        self, input_bytes: int, output_bytes: int, device: torch.device, shared: bool = True
    ) -> None:
        """``shared``: see ``arena.make``. Raises CudaError where a GPU is full."""
        self.room = (input_bytes, output_bytes)
        self.inputs = arena.make(input_bytes, device, shared)
        try:
            self.outputs = arena.make(output_bytes, device, shared)
        except BaseException:
            self.inputs.close()
            raise

    def scrub(self) -> None:
        """See ``Arena.scrub``."""
        self.inputs.scrub()
        self.outputs.scrub()

    def export(self) -> tuple[dict[str, Any], list[int]]:
        """For the ``attach`` request."""
        (first, a), (second, b) = self.inputs.export(), self.outputs.export()
        return {"in": first, "out": second}, [*a, *b]

    def hold(self, room: tuple[int, int]) -> bool:
        """Whether these have that room."""
        return self.room[0] >= room[0] and self.room[1] >= room[1]

    def write(self, item: LaidOut, tensors: Sequence[torch.Tensor]) -> None:
        """Copy pristine inputs to their places."""
        write(self.inputs.tensor, item, tensors)

    def write_all(self, image: torch.Tensor) -> None:
        """Copy the inputs of many calls, which lie in ``image`` as they are to lie here."""
        self.inputs.tensor[: len(image)].copy_(image)

    def poison(self, layout: Layout) -> None:
        """Overwrite all outputs of a layout."""
        self.outputs.tensor[: layout.output_bytes].fill_(arena.POISON)

    def settle(self) -> None:
        """Wait until what was written is there: on a GPU another process would read earlier."""
        if self.inputs.tensor.is_cuda:
            torch.cuda.synchronize(self.inputs.tensor.device)

    def read(self, item: LaidOut) -> list[torch.Tensor]:
        """The outputs as the candidate left them; views of shared memory: clone what must not change."""
        return read(self.outputs.tensor, item)

    def untouched(self, item: LaidOut, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether the inputs of a call still hold, bit for bit, what was written."""
        return all(self.unchanged(item, tensors))

    def unchanged(self, item: LaidOut, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """``untouched`` for each input, as bool scalars on the device."""
        return [
            (bits(_flat_view(self.inputs.tensor, place)) == bits(_flat(tensor))).all()
            for place, tensor in zip(item.inputs, tensors, strict=True)
        ]

    def close(self, reuse: bool = True) -> None:
        """Release both. ``reuse``: whoever had them is surely gone."""
        self.inputs.close(reuse)
        self.outputs.close(reuse)


def write(memory: torch.Tensor, item: LaidOut, tensors: Sequence[torch.Tensor]) -> None:
    """Copy the inputs of one call to their places in ``memory``, an input arena or an image of one."""
    for place, tensor in zip(item.inputs, tensors, strict=True):
        _flat_view(memory, place).copy_(_flat(tensor))


def write_rolled(
    memory: torch.Tensor, item: LaidOut, tensors: Sequence[torch.Tensor], shifts: Sequence[int]
) -> None:
    """``write`` with every tensor's storage rotated by its secret shift: fresh values at the price of one copy.

    The values and so the distribution stay; no element stays where a fingerprint or a cache would look for it.
    """
    for place, tensor, shift in zip(item.inputs, tensors, shifts, strict=True):
        flat, there = _flat(tensor), _flat_view(memory, place)
        shift %= max(1, flat.numel())
        there[shift:].copy_(flat[: flat.numel() - shift])
        there[:shift].copy_(flat[flat.numel() - shift :])


def read(memory: torch.Tensor, item: LaidOut) -> list[torch.Tensor]:
    """The outputs of one call in ``memory``, an output arena or a copy of one; views."""
    return [calls.view(memory, place) for place in item.outputs]


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """All elements from the first to the last that the tensor touches, 1-d: what lies between strides too."""
    size = calls.span(tensor.shape, tensor.stride())
    return tensor.as_strided((size,), (1,), tensor.storage_offset())


def _flat_view(memory: torch.Tensor, place: calls.Place) -> torch.Tensor:
    return memory[place.start : place.start + place.size].view(calls.dtype_of(place.dtype))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor, 1-d, as the widest integers that fit: comparing single bytes is slow."""
    flat = tensor.contiguous().reshape(-1)
    size = flat.numel() * flat.element_size()
    start = flat.storage_offset() * flat.element_size()
    for wide in (torch.int64, torch.int32, torch.int16):
        if size and size % wide.itemsize == 0 and start % wide.itemsize == 0:
            return flat.view(torch.uint8).view(wide)
    return flat.view(torch.uint8) if size else flat


@dataclass(frozen=True)
class BlockInputs:
    """Inputs of the first calls of a layout, written to as many arenas as there are sides."""

    layout: Layout
    count: int
    """Calls."""
    image: torch.Tensor | None
    """As they are to lie in an arena; None where that would be gigabytes."""
    tensors: Sequence[Sequence[torch.Tensor]] = ()
    """Of each call, where there is no image."""

    def write(self, buffers: Buffers, count: int) -> None:
        """Write those of the first ``count`` calls."""
        if self.image is not None:
            buffers.write_all(self.image[: end_of_inputs(self.layout, count)])
            return
        for item, tensors in zip(self.layout.items[:count], self.tensors, strict=False):
            buffers.write(item, tensors)

    def unchanged(self, buffers: Buffers, call: int) -> list[torch.Tensor]:
        """Whether the inputs of a call, and what lies between them, are still as they were written, as bool scalars on
        the device."""
        if self.image is None:
            return buffers.unchanged(self.layout.items[call], self.tensors[call])
        start, end = _span_of_inputs(self.layout, call)
        return [(bits(buffers.inputs.tensor[start:end]) == bits(self.image[start:end])).all()]


def end_of_inputs(layout: Layout, count: int) -> int:
    """Bytes that the inputs of the first ``count`` calls take."""
    later = [place.start for item in layout.items[count : count + 1] for place in item.inputs[:1]]
    return later[0] if later else layout.input_bytes


def _span_of_inputs(layout: Layout, call: int) -> tuple[int, int]:
    """First byte of a call's inputs and the one after the last, whole words. A tensor may begin behind the boundary to
    which its place is aligned."""

    def begin(number: int) -> int:
        return end_of_inputs(layout, number) // calls.ALIGNMENT * calls.ALIGNMENT

    return begin(call), begin(call + 1) if call + 1 < len(layout.items) else layout.input_bytes


def blank_inputs(layout: Layout, count: int, device: torch.device) -> torch.Tensor:
    """Memory for the inputs of the first ``count`` calls. What lies between them is zero: a candidate will see it, and
    memory of this process has held answers."""
    size = end_of_inputs(layout, count)
    if device.type != "cpu":
        return torch.zeros(size, dtype=torch.uint8, device=device)
    memory, end = torch.empty(size, dtype=torch.uint8), 0
    for place in sorted((p for item in layout.items[:count] for p in item.inputs), key=lambda p: p.start):
        memory[end : place.start] = 0
        end = place.start + place.size
    memory[end:] = 0
    return memory

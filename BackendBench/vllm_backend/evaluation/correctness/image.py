"""A chunk of calls as it lies in a pair of arenas: inputs and right answers, drawn once.

- Writing the inputs is one copy, and most answers are found right by a few operations over all of them: a GPU is asked
  for many candidates at a time, and each operation costs the judge's process as much as a small tensor costs the GPU.
- ``right`` never says yes where a comparison of the single tensors would say no. Where it says no, that comparison
  decides, and says what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch

from ...operations import tolerances
from ...operations.operation import Operation
from ..memory import arena, calls
from ..memory.calls import Place
from ..memory.shared_calls import Layout, read, write


@dataclass(frozen=True)
class Answers:
    """For each call of a chunk its inputs, eager's outputs and what else outputs are held against."""

    inputs: Sequence[Sequence[torch.Tensor]]
    expected: Sequence[Sequence[torch.Tensor]]
    references: Sequence[tolerances.Reference]


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring outputs of one floating dtype. Between them lies what is not finite, so that only the same bytes are
    right there."""

    start: int
    stop: int
    """Bytes."""
    dtype: torch.dtype
    """Real: a complex number is two."""
    precise: torch.Tensor
    allowed: torch.Tensor


@dataclass
class Image:
    """See the module's docstring. Made by ``draw``."""

    inputs: torch.Tensor
    outputs: torch.Tensor
    """uint8, of each arena's beginning."""
    operation: Operation
    layout: Layout
    answers: Answers
    _stretches: list[_Stretch] | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def untouched(self, memory: torch.Tensor) -> torch.Tensor:
        """Whether the input arena still holds what was written; a bool scalar on the device."""
        return (_words(memory, len(self.inputs)) == self.inputs.view(torch.int64)).all()

    def same(self, memory: torch.Tensor) -> torch.Tensor:
        """Whether the output arena holds eager's answers bit for bit; a bool scalar on the device."""
        return (_words(memory, len(self.outputs)) == self.outputs.view(torch.int64)).all()

    def right(self, memory: torch.Tensor) -> torch.Tensor:
        """Whether the output arena holds right answers; a bool scalar on the device. False also where only a
        comparison of the single tensors can tell."""
        covered, found = 0, []
        for stretch in self._made():
            found.append(self._bytes_same(memory, covered, stretch.start))
            found.append(self._close(memory, stretch))
            covered = stretch.stop
        found.append(self._bytes_same(memory, covered, len(self.outputs)))
        return torch.stack(found).all()

    def _bytes_same(self, memory: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        return (memory[start:stop] == self.outputs[start:stop]).all()

    def _close(self, memory: torch.Tensor, stretch: _Stretch) -> torch.Tensor:
        mine = memory[stretch.start : stretch.stop].view(stretch.dtype)
        eager = self.outputs[stretch.start : stretch.stop].view(stretch.dtype)
        # Two NaN of different bits are the same answer; poison is none.
        alike = (mine == eager) | (mine.isnan() & eager.isnan())
        error = (mine.to(stretch.precise.dtype) - stretch.precise).abs_()
        return (alike | (error <= stretch.allowed)).all()

    def warm(self) -> None:
        """Make what is needed as soon as somebody differs from eager in a bit: on a GPU that others use as well it
        takes ten times as long."""
        self._made()

    def _made(self) -> list[_Stretch]:
        with self._lock:
            if self._stretches is None:
                self._stretches = list(self._draw())
            return self._stretches

    def _draw(self) -> Iterator[_Stretch]:
        outputs = [
            (place, self._limits(call, index))
            for call, item in enumerate(self.layout.items)
            for index, place in enumerate(item.outputs)
            if calls.span(place.shape, place.stride)
        ]
        for dtype, group in groupby(outputs, key=lambda one: one[1].dtype if one[1] else None):
            limits = [(place, found) for place, found in group if found is not None]
            if dtype is not None and limits:
                yield self._stretch(dtype, limits)

    def _limits(self, call: int, index: int) -> tolerances.Interval | None:
        eager, reference = self.answers.expected[call][index], self.answers.references[call]
        return tolerances.interval(self.operation, eager, reference, index)

    def _stretch(self, dtype: torch.dtype, limits: list[tuple[Place, tolerances.Interval]]) -> _Stretch:
        first, (last, found) = limits[0][0].start, limits[-1]
        stop = last.start + found.precise.numel() * dtype.itemsize
        count = (stop - first) // dtype.itemsize
        precise = found.precise.new_full((count,), float("nan"))
        allowed = found.allowed.new_zeros(count)
        for place, one in limits:
            begin = (place.start - first) // dtype.itemsize
            precise[begin : begin + one.precise.numel()] = one.precise.reshape(-1)
            allowed[begin : begin + one.allowed.numel()] = one.allowed.reshape(-1)
        return _Stretch(first, stop, dtype, precise, allowed)


def draw(operation: Operation, layout: Layout, answers: Answers, device: torch.device) -> Image:
    """The image of a layout."""
    inputs = torch.zeros(layout.input_bytes, dtype=torch.uint8, device=device)
    outputs = torch.full((layout.output_bytes,), arena.POISON, dtype=torch.uint8, device=device)
    for item, tensors, expected in zip(layout.items, answers.inputs, answers.expected, strict=True):
        write(inputs, item, tensors)
        for place, tensor in zip(read(outputs, item), expected, strict=True):
            place.copy_(tensor)
    return Image(inputs, outputs, operation, layout, answers)


def _words(memory: torch.Tensor, size: int) -> torch.Tensor:
    return memory[:size].view(torch.int64)

"""The correctness cases of one operation made ready: inputs, eager's outputs, float64 outputs, places.

- Made once per operation and seed on the judge's device; the seed is secret and changes (see judge.py).
- The first chunk is small, so that most wrong candidates fail after a few calls.
- The first cases are called many times more in the end: whoever works only for so many calls is seen.
- A repeat chunk sends other values of the same shapes, each twice: whoever caches, answers stale; whoever has one
  buffer for all answers, shares it between two of them.
- A huge case (see huge.py) is a chunk of its own, of which only the layout is kept: ``fresh`` draws each trial.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...operations import tolerances, trees
from ...operations.operation import Case, Operation
from ..memory import calls, shared_calls
from . import huge
from .image import Answers, Image, draw

FIRST_CHUNK = 3
"""Cases; enough to fail nearly every wrong kernel."""
REPEATED = 6
"""Cases that are called again, twice, with other values."""
ENDURED = 160
"""Calls of the first cases after all cases have passed. With all others a kernel is called more than 200 times."""
CHUNK_CASES = 10
CHUNK_BYTES = 64 << 20
"""Cases, and bytes of inputs and outputs, that travel in one request."""
IMAGE_BYTES = 32 << 20
"""Of a chunk that has an image: of large tensors a comparison takes longer than asking for it, and the image and its
limits would take four times their memory."""


@dataclass
class CheckedCase:
    """One case with its answers."""

    name: str
    inputs: list[torch.Tensor]
    """Pristine, in packing order."""
    expected: list[torch.Tensor]
    precise: Any
    layout: shared_calls.Layout | None = None
    """Of a huge case, whose tensors are not kept."""


@dataclass
class Chunk:
    """Cases that are sent in one request."""

    cases: list[CheckedCase]
    layout: shared_calls.Layout
    first: int = 0
    """Number of its first case among all cases."""
    trials: int = 1
    """How often it is run; above 1 for a huge case, each time with other values."""
    image: Image | None = None
    """None for large ones."""

    @property
    def inputs(self) -> shared_calls.BlockInputs:
        """Those of all its cases."""
        image = None if self.image is None else self.image.inputs
        tensors = [case.inputs for case in self.cases]
        return shared_calls.BlockInputs(self.layout, len(self.cases), image, tensors)

    @property
    def huge(self) -> bool:
        """Whether its tensors have to be drawn before it is run."""
        return self.cases[0].layout is not None


@dataclass
class CasePlan:
    """All correctness cases of an operation for one seed."""

    operation: Operation
    chunks: list[Chunk]
    left_out: list[str]
    """Cases that cannot be sent or compared, with the reason."""
    endurance: Chunk | None = None
    """The first cases again and again; not counted as cases."""

    def warm(self) -> None:
        """See ``Image.warm``."""
        for chunk in self._every:
            if chunk.image is not None:
                chunk.image.warm()

    @property
    def _every(self) -> list[Chunk]:
        return [*self.chunks, self.endurance] if self.endurance is not None else self.chunks

    @property
    def total(self) -> int:
        """Number of cases, repeats included."""
        return sum(len(c.cases) * c.trials for c in self.chunks)

    @property
    def room(self) -> tuple[int, int]:
        """Bytes of the largest chunk: (inputs, outputs)."""
        return (
            max((c.layout.input_bytes for c in self._every), default=0),
            max((c.layout.output_bytes for c in self._every), default=0),
        )


def prepare(operation: Operation, device: torch.device, seed: int) -> CasePlan:
    """All cases for ``seed``, chunked. Raises ValueError where not one case can be used."""
    left_out: list[str] = []
    first = _checked(operation, operation.make_cases(device, seed), left_out)
    if not first:
        raise ValueError(f"no case of {operation.name} can be judged on {device.type}: {left_out[:3]}")
    alone = [checked for _, checked in first if checked.layout is not None]
    first = [pair for pair in first if pair[1].layout is None]
    wanted = {case.name for case, _ in first[:REPEATED]}
    shifts = (1, 2) if wanted else ()
    again = [c for shift in shifts for c in operation.make_cases(device, seed + shift) if c.name in wanted]
    groups = [first[:FIRST_CHUNK], _checked(operation, again, []), *_by_size(first[FIRST_CHUNK:])]
    chunks = [_chunk(operation, g, device) for g in groups if g]
    trials = -(-huge.TRIALS // max(1, len(alone)))
    chunks += [Chunk([c], c.layout, trials=trials) for c in alone if c.layout is not None]
    for before, chunk in itertools.pairwise(chunks):
        chunk.first = before.first + len(before.cases)
    return CasePlan(operation, chunks, left_out, _endurance(operation, first[:FIRST_CHUNK], device))


def _endurance(
    operation: Operation, first: list[tuple[Case, CheckedCase]], device: torch.device
) -> Chunk | None:
    if not first:
        return None
    size = sum(_bytes(pair) for pair in first)
    rounds = max(1, min(ENDURED // len(first), IMAGE_BYTES // max(1, size)))
    return _chunk(operation, first * rounds, device)


def fresh(operation: Operation, chunk: Chunk, device: torch.device, seed: int, rng: random.Random) -> Chunk:
    """The huge case of ``chunk`` with the values of ``seed`` and eager's answer to them."""
    name = chunk.cases[0].name
    case = next(c for c in operation.make_cases(device, seed) if c.name == name)
    with torch.no_grad():
        expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs)) or []
        answer = huge.answer(operation, case.call, expected, rng)
    ready = CheckedCase(name, shared_calls.tensors_of(case.call), expected, answer)
    return Chunk([ready], chunk.layout, chunk.first)


def _checked(
    operation: Operation, cases: Sequence[Case], left_out: list[str]
) -> list[tuple[Case, CheckedCase]]:
    usable = []
    for case in cases:
        try:
            inputs = shared_calls.tensors_of(case.call)
        except calls.UnshippableCall as error:
            left_out.append(f"{case.name}: {error}")
            continue
        expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs))
        if expected is None:
            left_out.append(f"{case.name}: the reference does not return tensors")
            continue
        if huge.is_huge(inputs, expected):
            layout = shared_calls.lay_out([(case.call, expected)])
            usable.append((case, CheckedCase(case.name, [], [], None, layout)))
            continue
        precise = tolerances.float64_call(operation, case.call)
        usable.append((case, CheckedCase(case.name, inputs, [t.clone() for t in expected], precise)))
    return usable


def _by_size(
    cases: list[tuple[Case, CheckedCase]],
) -> list[list[tuple[Case, CheckedCase]]]:
    groups: list[list[tuple[Case, CheckedCase]]] = [[]]
    size = 0
    for pair in cases:
        bytes_of = _bytes(pair)
        if groups[-1] and (size + bytes_of > CHUNK_BYTES or len(groups[-1]) >= CHUNK_CASES):
            groups.append([])
            size = 0
        groups[-1].append(pair)
        size += bytes_of
    return groups


def _bytes(pair: tuple[Case, CheckedCase]) -> int:
    """Of its inputs and outputs."""
    return sum(t.numel() * t.element_size() for t in [*pair[1].inputs, *pair[1].expected])


def _chunk(operation: Operation, pairs: list[tuple[Case, CheckedCase]], device: torch.device) -> Chunk:
    layout = shared_calls.lay_out([(case.call, checked.expected) for case, checked in pairs])
    cases = [checked for _, checked in pairs]
    if layout.input_bytes + layout.output_bytes > IMAGE_BYTES:
        return Chunk(cases, layout)
    answers = Answers([c.inputs for c in cases], [c.expected for c in cases], [c.precise for c in cases])
    return Chunk(cases, layout, image=draw(operation, layout, answers, device))

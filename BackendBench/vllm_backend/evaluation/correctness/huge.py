"""Calls of gigabytes: made when they are needed, compared in parts, gone afterwards.

- A case above ``CASE_BYTES`` or a workload above ``HUGE_BYTES`` is never kept. Every trial draws its inputs anew on
  the device, under a secret seed, and asks eager for the answer; the arena is the same for all trials.
- All elements are held against eager's, a slice at a time: missing, stale and misplaced work shows.
- Accuracy is judged on secret rows, against a float64 reference of those rows alone. Rows can stand for the whole
  where eager agrees that they do; where they cannot, on secret elements against eager.
- Memory beside one input and one output of the call: ``SLICE`` elements and the rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...operations import tolerances, trees
from ...operations.operation import Call, Operation
from ...operations.reference64 import Reference
from ...state.error_type import ErrorType
from ..failure import Failure

HUGE_BYTES = 1 << 30
"""Inputs and outputs of one timed call; a block has at least two of a smaller one."""
CASE_BYTES = {"cpu": 16 << 20, "cuda": 128 << 20}
"""Inputs and outputs of one case. Float64 answers and limits for every element take eight times that, for each of
fifteen cases, and on a CPU seconds each."""
SAMPLE_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20}
"""Inputs and outputs of the rows that accuracy is judged on: half a million elements and more."""
LEAST_ROWS = 4
SLICE = 1 << 26
"""Elements compared at a time: 256 MB of float32, so that the temporaries of a comparison stay below 2 GB."""
ROWS_AGREE = 1e-3
"""Eager on some rows against these rows of eager on all: another algorithm may be chosen, another function not."""
TRIALS = 5
"""Correctness trials of a huge case, each with inputs of its own."""

Close = Callable[[torch.Tensor, torch.Tensor], bool]


def bytes_of(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of all elements."""
    return sum(t.numel() * t.element_size() for t in tensors)


def is_huge(inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> bool:
    """Whether a case is too large to be kept."""
    found = [*inputs, *outputs]
    return bool(found) and bytes_of(found) > CASE_BYTES[found[-1].device.type]


@dataclass
class Answer:
    """Eager's answer to one huge call, and a stricter one for a part of it."""

    expected: list[torch.Tensor]
    rows: torch.Tensor | None
    """Secret rows; None where rows cannot stand for the whole."""
    some: list[torch.Tensor]
    """Eager's outputs for the rows alone; [] without rows."""
    reference: Reference
    seed: int

    def failure(self, operation: Operation, produced: Sequence[torch.Tensor], close: Close) -> Failure | None:
        """The first thing that is wrong with the outputs. ``close(mine, eager)``: the rough comparison."""
        for index, (mine, eager) in enumerate(zip(produced, self.expected, strict=True)):
            found = _first_difference(mine, eager, close)
            if found:
                where = f"output {index}" if index else "output"
                return Failure(ErrorType.WRONG_VALUES, f"{where}{found}")
        part, expected = self._part(produced)
        compared = tolerances.compare_outputs(operation, part, expected, self.reference)
        if compared.agrees:
            return None
        return Failure(ErrorType(compared.agreement.value), f"of a sample, {compared.message()}")

    def _part(self, produced: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        rows = self.rows
        if rows is not None:
            return [p.index_select(0, rows) for p in produced], self.some
        generator = torch.Generator(produced[0].device).manual_seed(self.seed)
        pairs = []
        for mine, eager in zip(produced, self.expected, strict=True):
            count = min(eager.numel(), SAMPLE_BYTES[eager.device.type] // eager.element_size())
            chosen = torch.randint(max(1, eager.numel()), (count,), generator=generator, device=eager.device)
            pairs.append((mine.reshape(-1)[chosen], eager.reshape(-1)[chosen]))
        return [p[0] for p in pairs], [p[1] for p in pairs]


def answer(operation: Operation, call: Call, expected: Sequence[torch.Tensor], rng: random.Random) -> Answer:
    """What is known of the right answer to ``call``, whose outputs by eager are ``expected``."""
    seed = rng.getrandbits(62)
    for part, rows in _parts(call, expected, seed):
        some = _agreeing(operation, part, expected, rows)
        if some is not None:
            return Answer(list(expected), rows, some, tolerances.float64_call(operation, part), seed)
    longest = max((max(t.shape, default=1) for t in trees.tensors(call)), default=1)
    return Answer(list(expected), None, [], Reference(None, [], longest), seed)


def _parts(call: Call, expected: Sequence[torch.Tensor], seed: int) -> Iterator[tuple[Call, torch.Tensor]]:
    """The call on some rows: of every tensor that is as long as the outputs, then of the first one alone."""
    inputs = trees.tensors(call)
    lengths = {t.shape[0] if t.dim() else -1 for t in expected}
    if len(lengths) != 1 or not inputs or inputs[0].shape[:1] != tuple(lengths):
        return
    length = lengths.pop()
    fitting = [t for t in inputs if t.dim() and t.shape[0] == length]
    row_bytes = max(1, (bytes_of(fitting) + bytes_of(expected)) // max(1, length))
    count = min(length, max(LEAST_ROWS, SAMPLE_BYTES[expected[0].device.type] // row_bytes))
    generator = torch.Generator(expected[0].device).manual_seed(seed)
    rows = torch.randint(length, (count,), generator=generator, device=expected[0].device)
    for chosen in (fitting, fitting[:1]):
        ids = {id(t) for t in chosen}
        yield (
            trees.map_call(lambda t, ids=ids: t.index_select(0, rows) if id(t) in ids else t, call),  # type: ignore[misc]
            rows,
        )


def _agreeing(
    operation: Operation, part: Call, expected: Sequence[torch.Tensor], rows: torch.Tensor
) -> list[torch.Tensor] | None:
    """Eager's outputs for a part, where they are the rows of its outputs for the whole."""
    try:
        with torch.no_grad():
            some = trees.leaves(operation.reference(*part.args, **part.kwargs))
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    if some is None or len(some) != len(expected):
        return None
    for mine, whole in zip(some, expected, strict=True):
        theirs = whole.index_select(0, rows)
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return None
        finite = (
            theirs.isfinite() if theirs.is_floating_point() else torch.ones_like(theirs, dtype=torch.bool)
        )
        typical = float(torch.where(finite, theirs, 0).abs().double().mean()) if theirs.numel() else 0.0
        near = torch.isclose(mine, theirs, rtol=ROWS_AGREE, atol=ROWS_AGREE * typical, equal_nan=True)
        if not bool(near.all()):
            return None
    return some


def _first_difference(mine: torch.Tensor, eager: torch.Tensor, close: Close) -> str:
    """Where the two differ beyond rounding, in words; ''."""
    start = 0
    for one, two in slices(mine, eager):
        if not torch.equal(one, two) and not close(one, two):
            one, two = one.reshape(-1), two.reshape(-1)
            here = _worst(one, two)
            where = [int(i) for i in np.unravel_index(start + here, tuple(eager.shape))]
            return f"{where} is {one[here].item():.7g}, expected {two[here].item():.7g}"
        start += one.numel()
    return ""


def slices(mine: torch.Tensor, eager: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Two tensors of one shape side by side: as they are, or flat and in parts where they are large."""
    if eager.numel() <= SLICE:
        yield mine, eager
        return
    flat, other = mine.reshape(-1), eager.reshape(-1)
    for start in range(0, flat.numel(), SLICE):
        yield flat[start : start + SLICE], other[start : start + SLICE]


def _worst(mine: torch.Tensor, eager: torch.Tensor) -> int:
    distance: Any = (mine.to(torch.float64) - eager.to(torch.float64)).abs()
    misplaced = mine.isnan() != eager.isnan() if mine.is_floating_point() else mine != eager
    return int(torch.where(misplaced, torch.inf, torch.nan_to_num(distance, nan=0.0)).argmax())

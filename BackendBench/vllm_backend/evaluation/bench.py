"""One workload made ready for timing: inputs, places for them, and what eager answers.

- Made once per workload and kept by the judge; values change before every block (see ``Bench.fresh``).
- A block has as many calls as make it long against the clock's own error, and no more than memory allows.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..operations.operation import Call, Operation, Workload
from . import calls, shared_calls
from .failure import Failure
from .outputs import compare

if TYPE_CHECKING:
    from ..operations.reference64 import Reference

BLOCK_US = {"cpu": 6000.0, "cuda": 2000.0}
"""Length of an eager block. CPU: long against the scheduler's wake-ups (50 us). GPU: a few dozen short kernels."""
MOST_CALLS = {"cpu": 8, "cuda": 16}
LEAST_CALLS = 2
"""A buffer that serves for every answer shows only where a block has two of them."""
BLOCK_BYTES = {"cpu": 256 << 20, "cuda": 512 << 20}
"""Inputs and outputs of one block; every call of a block has its own."""
BASES = 2
"""Independent sets of inputs per workload; slots are rotations of them."""
FLUSH_BYTES = 256 << 20
"""Read before every timed call on a GPU: over four times the largest L2 (60 MB on an H200), and long enough
(60 us and more) for a launch from Python to hide behind it."""

STRICTLY_COMPARED = 1 << 20
"""Elements of an output that are held against the float64 reference: limits for all elements of large workloads would
fill the GPU. Which ones is secret; every block has a whole call compared less strictly as well."""


@dataclass
class Bench:
    """A workload ready to be timed."""

    workload: Workload
    bases: list[list[torch.Tensor]]
    """Pristine inputs on the judge's device, in packing order."""
    expected: list[torch.Tensor]
    """Eager's outputs for ``bases[0]``, as ``sampled`` picks them."""
    precise: Reference
    """The float64 reference for ``bases[0]``, picked likewise."""
    picked: list[torch.Tensor | None]
    """Per output the secret elements that are compared strictly; None for all."""
    layout: shared_calls.Layout
    eager_us: float
    """A first estimate, which sizes the block; never part of a speedup."""

    @property
    def calls(self) -> int:
        """Calls in a block."""
        return len(self.layout.items)

    def sampled(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What of a call's outputs is held against ``expected``."""
        return [_picked(t, where) for t, where in zip(outputs, self.picked, strict=True)]

    def first(self) -> list[torch.Tensor]:
        """Inputs of the first call, in packing order."""
        return self.bases[0]

    def failure(self, operation: Operation, produced: Sequence[torch.Tensor]) -> Failure | None:
        """What is wrong with the outputs of the first call, compared strictly."""
        return compare(operation, self.sampled(produced), self.expected, self.precise)

    def fresh(self, rng: random.Random) -> list[list[torch.Tensor]]:
        """New inputs for every slot of a block."""
        sets = []
        for slot in range(self.calls):
            base = self.bases[slot % len(self.bases)]
            sets.append(shared_calls.rolled(base, [rng.randrange(max(1, t.numel())) for t in base]))
        return sets


def block_size(target: str, eager_us: float, call_bytes: int) -> int:
    """Calls in a block."""
    by_time = round(BLOCK_US[target] / max(eager_us, 1.0))
    by_memory = BLOCK_BYTES[target] // max(call_bytes, 1)
    return max(LEAST_CALLS, min(MOST_CALLS[target], by_time, by_memory))


def prepare(
    operation: Operation, workload: Workload, device: torch.device, seed: int, eager_us: float
) -> Bench | None:
    """Make a workload ready; None where its outputs cannot be compared (not tensors). Raises UnshippableCall."""
    generator = torch.Generator(device=device)
    made: list[Call] = []
    for index in range(BASES):
        generator.manual_seed(seed + index)
        made.append(workload.make(device, generator))
    expected = calls.leaves(operation.reference(*made[0].args, **made[0].kwargs))
    if expected is None:
        return None
    bases = [shared_calls.tensors_of(call) for call in made]
    size = sum(t.numel() * t.element_size() for t in [*bases[0], *expected])
    count = block_size(device.type, eager_us, size)
    layout = shared_calls.lay_out([(made[slot % BASES], expected) for slot in range(count)])
    picked = [_pick(t, generator) for t in expected]
    precise = _sampled_reference(operation, made[0], picked)
    kept = [_picked(t, where).clone() for t, where in zip(expected, picked, strict=True)]
    return Bench(workload, bases, kept, precise, picked, layout, eager_us)


def _pick(output: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    if output.numel() <= STRICTLY_COMPARED:
        return None
    return torch.randint(output.numel(), (STRICTLY_COMPARED,), generator=generator, device=output.device)


def _picked(tensor: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    return tensor if where is None else tensor.reshape(-1)[where]


def _sampled_reference(operation: Operation, call: Call, picked: Sequence[torch.Tensor | None]) -> Reference:
    """The float64 reference of a call, of which only the picked elements are kept."""
    from ..operations import tolerances

    whole = tolerances.float64_call(operation, call)
    if whole.outputs is None or len(whole.outputs) != len(picked):
        return dataclasses.replace(whole, outputs=None, response=[])
    outputs = [_picked(t, where) for t, where in zip(whole.outputs, picked, strict=True)]
    response = [
        None if t is None else _picked(t, where) for t, where in zip(whole.response, picked, strict=False)
    ]
    return dataclasses.replace(whole, outputs=outputs, response=response, prepared={}, formula=None)

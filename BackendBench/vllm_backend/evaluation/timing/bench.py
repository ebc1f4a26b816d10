"""One workload made ready for timing: inputs, places for them, and what eager answers.

- Made once per workload and kept by the judge; values change before every block (see ``Bench.fresh``).
- A block has as many calls as make it long against the clock's own error, and no more than memory allows.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...operations import trees
from ...operations.operation import Call, Operation, Workload
from ...operations.reference64 import Reference
from ..correctness.outputs import compare
from ..failure import Failure
from ..memory import shared_calls
from ..memory.shared_calls import BlockInputs, blank_inputs, write_rolled

BLOCK_US = {"cpu": 6000.0, "cuda": 2000.0}
"""Length of an eager block. CPU: long against the scheduler's wake-ups (50 us). GPU: a few dozen short kernels."""
MOST_CALLS = {"cpu": 8, "cuda": 16}
LEAST_CALLS = 2
"""A buffer that serves for every answer shows only where a block has two of them."""
BLOCK_BYTES = {"cpu": 256 << 20, "cuda": 512 << 20}
"""Inputs and outputs of one block; every call of a block has its own."""
BASES = 2
"""Independent sets of inputs per workload; the calls of a block have rotations of them, by turns."""
LAST_BYTES = {"cpu": 64 << 20, "cuda": 1 << 40}
"""Inputs and outputs of a call up to which the last strict one has inputs of its own. Float64 answers to larger ones
take a processor many seconds, so there the first one's inputs are sent again."""
FLUSH_BYTES = 256 << 20
"""Read before every timed call on a GPU: over four times the largest L2 (60 MB on an H200), and long enough
(60 us and more) for a launch from Python to hide behind it."""

STRICTLY_COMPARED = 1 << 20
"""Elements of an output that are held against the float64 reference: limits for all elements of large workloads would
fill the GPU. Which ones is secret; every block has a whole call compared less strictly as well."""


@dataclass(frozen=True)
class Base:
    """Pristine inputs and the answers to them."""

    inputs: list[torch.Tensor]
    """On the judge's device, in packing order."""
    expected: list[torch.Tensor]
    """Eager's outputs, at the picked elements."""
    precise: Reference
    """The float64 reference, likewise."""


@dataclass(frozen=True)
class StrictBlock:
    """Inputs of a block of which one call is compared strictly."""

    inputs: BlockInputs
    call: int
    base: int
    """Whose inputs it has."""


@dataclass
class Bench:
    """A workload ready to be timed."""

    workload: Workload
    bases: list[Base]
    picked: list[torch.Tensor | None]
    """Per output the secret elements that are compared strictly; None for all."""
    layout: shared_calls.Layout
    eager_us: float
    """A first estimate, which sizes the block; never part of a speedup."""
    device: torch.device
    last_base: int = BASES - 1
    """Whose inputs the strict call of the last block has; other bases than this and the first have no answers."""

    @property
    def calls(self) -> int:
        """Calls in a block."""
        return len(self.layout.items)

    def first(self) -> StrictBlock:
        """One call, the first of all."""
        return self._strict(random.Random(0), 1, 0)

    def last(self, rng: random.Random, count: int) -> StrictBlock:
        """A block of ``count`` calls, a secret one of which has inputs that were never sent before, see LAST_BYTES."""
        return self._strict(rng, count, self.last_base)

    def _strict(self, rng: random.Random, count: int, base: int) -> StrictBlock:
        call = rng.randrange(count)
        return StrictBlock(self._written(rng, count, {call: base}), call, base)

    def failure(
        self, operation: Operation, block: StrictBlock, produced: Sequence[torch.Tensor]
    ) -> Failure | None:
        """What is wrong with the outputs of the block's strict call."""
        base = self.bases[block.base]
        mine = [_picked(t, where) for t, where in zip(produced, self.picked, strict=True)]
        return compare(operation, mine, base.expected, base.precise)

    def fresh(self, rng: random.Random, count: int) -> BlockInputs:
        """New inputs for the first ``count`` calls of a block."""
        return self._written(rng, count, {})

    def _written(self, rng: random.Random, count: int, still: Mapping[int, int]) -> BlockInputs:
        """Rotations of the bases; for the calls of ``still`` these bases themselves."""
        image = blank_inputs(self.layout, count, self.device)
        for call, item in enumerate(self.layout.items[:count]):
            inputs = self.bases[still.get(call, call % BASES)].inputs
            shifts = [0 if call in still else rng.randrange(max(1, t.numel())) for t in inputs]
            write_rolled(image, item, inputs, shifts)
        return BlockInputs(self.layout, count, image)


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
    answers = [trees.leaves(operation.reference(*call.args, **call.kwargs)) for call in made]
    expected = answers[0]
    if expected is None:
        return None
    # Outputs may be as long as their values say: then all calls have the same values, rotated.
    if not _alike(made, answers):
        made, answers = made[:1] * BASES, answers[:1] * BASES
    size = sum(t.numel() * t.element_size() for t in [*shared_calls.tensors_of(made[0]), *expected])
    count = block_size(device.type, eager_us, size)
    layout = shared_calls.lay_out([(made[slot % BASES], expected) for slot in range(count)])
    picked = [_pick(t, generator) for t in expected]
    last = BASES - 1 if size <= LAST_BYTES[device.type] else 0
    bases = [
        _base(operation, call, answer, picked)
        if index in (0, last)
        else Base(shared_calls.tensors_of(call), [], Reference(None, [], 1))
        for index, (call, answer) in enumerate(zip(made, answers, strict=True))
    ]
    return Bench(workload, bases, picked, layout, eager_us, device, last)


def _alike(made: Sequence[Call], answers: Sequence[list[torch.Tensor] | None]) -> bool:
    """Whether all calls have inputs and outputs of the same shapes and strides."""
    forms = {
        tuple((t.shape, t.stride(), t.dtype) for t in [*shared_calls.tensors_of(call), *(answer or [])])
        for call, answer in zip(made, answers, strict=True)
    }
    return len(forms) == 1


def _base(
    operation: Operation, call: Call, answer: list[torch.Tensor] | None, picked: Sequence[torch.Tensor | None]
) -> Base:
    kept = [_picked(t, where).clone() for t, where in zip(answer or [], picked, strict=True)]
    return Base(shared_calls.tensors_of(call), kept, _sampled_reference(operation, call, picked))


def _pick(output: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    if output.numel() <= STRICTLY_COMPARED:
        return None
    return torch.randint(output.numel(), (STRICTLY_COMPARED,), generator=generator, device=output.device)


def _picked(tensor: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    return tensor if where is None else tensor.reshape(-1)[where]


def _sampled_reference(operation: Operation, call: Call, picked: Sequence[torch.Tensor | None]) -> Reference:
    """The float64 reference of a call, of which only the picked elements are kept."""
    from ...operations import tolerances

    whole = tolerances.float64_call(operation, call)
    if whole.outputs is None or len(whole.outputs) != len(picked):
        return dataclasses.replace(whole, outputs=None, response=[])
    outputs = [_picked(t, where) for t, where in zip(whole.outputs, picked, strict=True)]
    response = [
        None if t is None else _picked(t, where) for t, where in zip(whole.response, picked, strict=False)
    ]
    return dataclasses.replace(whole, outputs=outputs, response=response, prepared={}, formula=None)

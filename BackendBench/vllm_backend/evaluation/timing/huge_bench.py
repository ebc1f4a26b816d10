"""A workload of gigabytes made ready for timing: drawn anew for every block, one call a block.

- One call fills a block by itself; a second one would need the memory of eight tensors more.
- A buffer that serves for every answer does not show within such a block; a stale answer does, in every block.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ...operations import trees
from ...operations.operation import Call, Operation, Workload
from ..correctness import huge, outputs
from ..failure import Failure
from ..memory import shared_calls
from ..memory.shared_calls import BlockInputs
from .bench import Bench, StrictBlock


def is_huge(workload: Workload) -> bool:
    """Whether a workload is too large to be kept."""
    return workload.bytes_moved > huge.HUGE_BYTES


@dataclass
class HugeBench(Bench):
    """A workload of which only the layout is kept."""

    rng: random.Random = field(default_factory=random.SystemRandom)
    _first: list[Call] = field(default_factory=list)

    def first(self) -> StrictBlock:
        """One call, drawn now; kept until ``failure`` has been asked."""
        self._first = []
        self._first = [_draw(self.workload, self.device, self.rng)]
        return StrictBlock(self._inputs(self._first), 0, 0)

    def last(self, rng: random.Random, count: int) -> StrictBlock:
        """As the first: no call is sent twice."""
        return self.first()

    def failure(
        self, operation: Operation, block: StrictBlock, produced: Sequence[torch.Tensor]
    ) -> Failure | None:
        """What is wrong with the outputs of the last strict block's call."""
        call = self._first.pop()
        with torch.no_grad():
            expected = trees.leaves(operation.reference(*call.args, **call.kwargs)) or []
            answer = huge.answer(operation, call, expected, self.rng)
        return outputs.compare(operation, produced, expected, answer)

    def fresh(self, rng: random.Random, count: int) -> BlockInputs:
        """New inputs for the calls of a block."""
        return self._inputs([_draw(self.workload, self.device, rng) for _ in range(count)])

    def _inputs(self, made: Sequence[Call]) -> BlockInputs:
        tensors = [shared_calls.tensors_of(call) for call in made]
        return BlockInputs(self.layout, len(made), None, tensors)


def prepare(
    operation: Operation, workload: Workload, device: torch.device, seed: int, eager_us: float
) -> HugeBench | None:
    """Make a workload ready; None where its outputs cannot be compared (not tensors). Raises UnshippableCall."""
    rng = random.Random(seed)
    call = _draw(workload, device, rng)
    expected = trees.leaves(operation.reference(*call.args, **call.kwargs))
    if expected is None:
        return None
    layout = shared_calls.lay_out([(call, expected)])
    return HugeBench(workload, [], [], layout, eager_us, device, rng=rng)


def _draw(workload: Workload, device: torch.device, rng: random.Random) -> Call:
    generator = torch.Generator(device=device).manual_seed(rng.getrandbits(62))
    return workload.make(device, generator)

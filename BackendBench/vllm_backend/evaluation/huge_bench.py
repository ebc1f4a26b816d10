"""A workload of gigabytes made ready for timing: drawn anew for every block, one call a block.

- One call fills a block by itself; a second one would need the memory of eight tensors more.
- A buffer that serves for every answer does not show within such a block; a stale answer does, in every block.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..operations.operation import Call, Operation, Workload
from ..operations.reference64 import Reference
from . import calls, huge, outputs, shared_calls
from .bench import Bench
from .failure import Failure


def is_huge(workload: Workload) -> bool:
    """Whether a workload is too large to be kept."""
    return workload.bytes_moved > huge.HUGE_BYTES


@dataclass
class HugeBench(Bench):
    """A workload of which only the layout is kept."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rng: random.Random = field(default_factory=random.SystemRandom)
    _first: list[Call] = field(default_factory=list)

    def first(self) -> list[torch.Tensor]:
        """Inputs of the first call, drawn now; kept until ``failure`` has been asked."""
        self._first = []
        self._first = [_draw(self.workload, self.device, self.rng)]
        return shared_calls.tensors_of(self._first[0])

    def failure(self, operation: Operation, produced: Sequence[torch.Tensor]) -> Failure | None:
        """What is wrong with the outputs of the first call."""
        call = self._first.pop()
        with torch.no_grad():
            expected = calls.leaves(operation.reference(*call.args, **call.kwargs)) or []
            answer = huge.answer(operation, call, expected, self.rng)
        return outputs.compare(operation, produced, expected, answer)

    def fresh(self, rng: random.Random) -> list[list[torch.Tensor]]:
        """New inputs for every slot of a block."""
        return [shared_calls.tensors_of(_draw(self.workload, self.device, rng)) for _ in range(self.calls)]


def prepare(
    operation: Operation, workload: Workload, device: torch.device, seed: int, eager_us: float
) -> HugeBench | None:
    """Make a workload ready; None where its outputs cannot be compared (not tensors). Raises UnshippableCall."""
    rng = random.Random(seed)
    call = _draw(workload, device, rng)
    expected = calls.leaves(operation.reference(*call.args, **call.kwargs))
    if expected is None:
        return None
    layout = shared_calls.lay_out([(call, expected)])
    return HugeBench(workload, [], [], Reference(None, [], 1), [], layout, eager_us, device=device, rng=rng)


def _draw(workload: Workload, device: torch.device, rng: random.Random) -> Call:
    generator = torch.Generator(device=device).manual_seed(rng.getrandbits(62))
    return workload.make(device, generator)

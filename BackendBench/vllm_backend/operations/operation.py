"""What an operation is: a reference, a calling convention, inputs that test it and inputs that time it.

Nothing in here knows of processes, Redis or candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Call:
    """The arguments of one call. Tensors may stand at any depth of lists, tuples and dicts."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One correctness case; ``name`` says what is special about it, for messages and prompts."""

    name: str
    call: Call


@dataclass(frozen=True)
class Workload:
    """Inputs of a real model at their real size.

    ``make(device, generator)`` returns fresh random arguments on ``device``; ``generator`` is a
    ``torch.Generator`` of that device. Values differ with the generator's state, shapes never do.
    """

    name: str
    """For example ``llama3-8b mlp 4096x14336 bfloat16``."""
    origin: str
    """Which model and layer the shape was taken from, or ``synthetic``."""
    make: Callable[[torch.device, torch.Generator], Call]
    bytes_moved: int
    """Fewest bytes through memory: each input read once, each output written once."""
    flops: int = 0


@dataclass(frozen=True)
class Operation:
    """A PyTorch operation under a canonical name."""

    name: str
    """Canonical and a Python identifier: ``relu``, ``layer_norm``, ``softmax``."""
    overload: str
    """``relu.default``: the aten overload whose job it is (``torch.ops.aten.<packet>.<overload>``)."""
    signature: str
    """Parameter list of the candidate, ``(x, dim, dtype=None)``."""
    reference: Callable[..., Any]
    """The eager function; called with the arguments of a case."""
    make_cases: Callable[[torch.device, int], Sequence[Case]]
    """``make_cases(device, seed)``: all correctness cases; same seed, same values."""
    make_workloads: Callable[[torch.device], Sequence[Workload]]
    """Workloads for this kind of device (a CPU gets fewer tokens than a GPU)."""
    family: str = "other"
    """One of families.FAMILIES."""
    description: str = ""
    """What it computes, one or two sentences for the prompt."""
    overload_signature: str = ""
    """The aten schema as text; '' for a user's own operation."""
    tolerance_scale: float = 1.0
    """Widens the allowed error where the operation itself is not exactly determined (atomics, sorting)."""
    source: str = ""
    """Text of the file that a user's own operation came from; '' for PyTorch's."""
    adapter: str = ""
    """Text that the judge appends to a candidate's module once that has been screened; it defines ``function``.
    '' where candidates define ``function`` themselves."""
    entry: str = ""
    """What a candidate's module defines: ``ModelNew`` for a KernelBench problem, else (given as '') ``function``."""

    def __post_init__(self) -> None:
        if not self.entry:
            object.__setattr__(self, "entry", self.function)

    @property
    def function(self) -> str:
        """Name of the function that is called."""
        return f"{self.name}_kernel_impl"

"""The reference of all references: the same call in float64, and how much its answer moves with its inputs.

- Floating-point inputs (and dtype arguments) become float64, complex ones complex128; integers and bools stay.
- *Response*: how far an output moves when the inputs move by half a unit in the last place of the precision that is
  computed in. It is measured, by repeating the float64 call with inputs changed by random signs times 2**-30, so it
  holds for any operation: it grows with the length of a sum, with cancellation, with the slope of an exponential.
  A kernel that computes in that precision errs by a modest multiple of it; one that computes in less errs by
  thousands.
- What float64 cannot do (an operation without a float64 kernel, too little memory) has no reference: eager then
  stands in for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from . import trees
from .operation import Call, Operation

NUDGE = 2.0**-30
"""Relative change of the inputs: small enough to be linear, 2**23 times float64's own rounding."""
DRAWS = 6
"""Random changes whose effects are averaged. One alone can cancel out; of six, one in a million sums comes out
about eight times too small, which the factors of tolerances.py leave room for."""
SMOOTH = {"elementwise": 1, "binary": 1}
"""Draws per input where every output depends on one element of each input: no sum, nothing to average."""
SINGLE_UNIT = 2.0**-24
DOUBLE_UNIT = 2.0**-53
"""Half a unit in the last place of 1: the rounding error of float32 and float64."""

log = logging.getLogger(__name__)


@dataclass
class Reference:
    """What is known of one call's right answer. ``outputs`` in the order of eager's."""

    outputs: list[torch.Tensor] | None
    """float64 or complex128 where eager's are floating-point or complex; None without a float64 reference."""
    response: list[torch.Tensor | None]
    """Per output, of its shape, real, for the unit ``SINGLE_UNIT``; None where it was not measured."""
    terms: int
    """Upper bound of the number of terms summed into one output element; 1 for element-by-element operations."""
    scale: float = 0.0
    """Largest finite magnitude among the inputs; float64 answers 0 where it loses less than a rounding of it."""
    product: bool = False
    """A matrix product, which GPUs offer in less than float32."""
    formula: list[torch.Tensor] | None = None
    """What a processor answers in float64, on the outputs' device; only for inputs that are not all finite, on a GPU.
    There a fused kernel may fill a whole row with NaN (a mean by updates: inf - inf) where the formula does not."""
    prepared: dict[int, Any] = field(default_factory=dict, repr=False)
    """Limits made by tolerances.py on first use, by output."""

    def output(self, index: int, eager: torch.Tensor) -> torch.Tensor | None:
        """The float64 output beside ``eager``; None where there is none of its shape."""
        if self.outputs is None or index >= len(self.outputs):
            return None
        found = self.outputs[index]
        return found if found.shape == eager.shape else None


def float64_call(operation: Operation, call: Call) -> Reference:
    """The operation on ``call`` with its inputs in float64. Never raises for what the operation cannot do."""
    terms = 1 if operation.family in SMOOTH else _terms(call, operation.family)
    product = operation.family == "matmul"
    wide = _widened(call)
    try:
        with torch.no_grad():
            outputs = trees.leaves(operation.reference(*wide.args, **wide.kwargs))
            if outputs is None:
                return Reference(None, [], terms, product=product)
            outputs = [o.detach().clone() for o in outputs]
            formula = by_formula(operation, wide, outputs) if outputs and outputs[0].is_cuda else None
            return Reference(
                outputs, _responses(operation, wide, outputs), terms, _scale(wide), product, formula
            )
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        log.debug("%s has no float64 reference here: %s", operation.name, error)
        return Reference(None, [], terms, product=product)


def by_formula(
    operation: Operation, wide: Call, outputs: Sequence[torch.Tensor]
) -> list[torch.Tensor] | None:
    """See ``Reference.formula``; None where all inputs are finite or a processor cannot say."""
    inputs = [t for t in trees.tensors(wide) if t.is_floating_point() or t.is_complex()]
    if all(bool(t.isfinite().all()) for t in inputs):
        return None
    try:
        call = trees.to_device(wide, torch.device("cpu"))
        found = trees.leaves(operation.reference(*call.args, **call.kwargs))
    except Exception as error:  # a user's own reference may ask for a GPU in any way
        log.debug("%s has no answer on a processor: %s", operation.name, error)
        return None
    if found is None or [f.shape for f in found] != [o.shape for o in outputs]:
        return None
    return [f.to(o.device) for f, o in zip(found, outputs, strict=True)]


def _scale(call: Call) -> float:
    sizes = [t.abs() for t in trees.tensors(call) if _counts(t) and t.numel()]
    return max((float(torch.where(s.isfinite(), s, 0).max()) for s in sizes), default=0.0)


def _widened(call: Call) -> Call:
    call = trees.map_call(_wide, call)
    args, kwargs = pytree.tree_map_only(torch.dtype, _wide_dtype, (call.args, call.kwargs))
    return Call(tuple(args), dict(kwargs))


def _wide_dtype(dtype: torch.dtype) -> torch.dtype:
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else dtype


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    wanted = _wide_dtype(tensor.dtype)
    return trees.through_storage(tensor, lambda flat: flat.to(wanted, copy=True))


def _terms(call: Call, family: str) -> int:
    """The longest dimension; where several may be summed over, all but the first, or all."""
    inputs = trees.tensors(call)
    lengths = [max(t.shape, default=1) for t in inputs]
    if family == "reduction" and call.kwargs.get("dim") is None:
        lengths += [t.numel() for t in inputs]
    if family in ("reduction", "normalisation"):
        lengths += [t.numel() // max(1, t.shape[0]) for t in inputs if t.dim() > 1]
    return max(1, *lengths) if lengths else 1


def _responses(
    operation: Operation, wide: Call, outputs: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    inputs = [t for t in trees.tensors(wide) if _counts(t)]
    squares = [
        torch.zeros(o.shape, dtype=torch.float64, device=o.device) if _counts(o) else None for o in outputs
    ]
    if not inputs or all(s is None for s in squares):
        return [None] * len(outputs)
    separate = operation.family in SMOOTH
    groups = [[t] for t in inputs] if separate else [inputs]
    draws = SMOOTH.get(operation.family, DRAWS)
    generator = torch.Generator(device=inputs[0].device)
    generator.manual_seed(0)
    for group in groups:
        chosen = {id(t) for t in group}
        for _ in range(draws):
            nudged = trees.map_call(lambda t: _nudged(t, generator) if id(t) in chosen else t, wide)  # noqa: B023
            moved = trees.leaves(operation.reference(*nudged.args, **nudged.kwargs)) or []
            _add_squares(squares, outputs, moved)
    to_unit = SINGLE_UNIT / NUDGE / math.sqrt(draws)
    return [None if s is None else s.sqrt_().mul_(to_unit) for s in squares]


def _counts(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _nudged(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    def change(flat: torch.Tensor) -> torch.Tensor:
        signs = torch.randint(0, 2, flat.shape, generator=generator, device=flat.device, dtype=torch.int8)
        return flat * (1 + NUDGE * (2 * signs - 1).to(torch.float64))

    return trees.through_storage(tensor, change)


def _add_squares(
    squares: Sequence[torch.Tensor | None], outputs: Sequence[torch.Tensor], moved: Sequence[torch.Tensor]
) -> None:
    for total, before, after in zip(squares, outputs, moved, strict=False):
        if total is None or before.shape != after.shape:
            continue
        distance = (after - before).abs()
        total += torch.nan_to_num(distance, nan=0.0, posinf=0.0, neginf=0.0).square()

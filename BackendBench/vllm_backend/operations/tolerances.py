"""The yardstick of correctness: may this output stand for eager's?

- Errors are taken from the float64 reference, not from eager: a kernel may be better than eager.
- The unit of error of an element is its rounding in the output's dtype plus the response of the reference to rounding
  of the inputs in the precision computed in (see reference64.py), plus that rounding of a typical output.
- Allowed is the largest of: a floor of a few units; ``FACTOR`` times eager's own worst error in units; ``FACTOR``
  times eager's error at that very element. All widened by the operation's ``tolerance_scale``.
- Half precision is computed in float32 and rounded once; so the floor is one unit in the last place there.
- TF32, float16 or bfloat16 in place of float32 errs by 2**11 to 2**15 units. The floor of a product, where they
  tempt most, is at most twice ``MOST_UNITS``; elsewhere it grows with the terms, as a plain loop's error does.
- NaN and infinities stand where eager has them, with their signs; or where the float64 answer, rounded, has them,
  computed on this device or, for inputs that are not finite, by a processor.
- Integers and bools are exact.
- Pure: no state, no I/O, any device, no loop over elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch

from .operation import Operation
from .reference64 import DOUBLE_UNIT, SINGLE_UNIT, Reference, float64_call

__all__ = [
    "Agreement", "Comparison", "Reference", "compare", "compare_outputs", "float64_call", "interval", "outputs_agree",
]  # fmt: skip

FACTOR = 4.0
"""How much worse than eager: another order of summation or another polynomial costs two to three times."""
ROUNDING_UNITS = {torch.float16: 2.0, torch.bfloat16: 2.0}
OTHER_ROUNDING_UNITS = 4.0
"""Floor in roundings of the output (a unit is half a unit in the last place)."""
RESPONSE_UNITS = 16.0
"""Floor in responses: the steps of a formula (exp by exp2, a division, a multiply-add) each add about one."""
GROWTH = 2.0
"""Responses added per square root of the terms, and roundings of the sum so far: a plain float32 loop over n terms
errs by about 0.35 sqrt(n) of either (of responses where the terms cancel, of roundings where they do not), its worst
of a million outputs by five times that."""
MOST_UNITS = 512.0
"""A sixth of what TF32 costs a product on average (3,300 responses), whatever the number of terms."""
JUMP = 2.0**-7
"""What the response may add, relative to the element and to 8 typical ones: beyond it the reference does not slope,
it jumps (floor at an integer), and a jump excuses nothing."""
OUTLIERS = 16.0
"""Eager's worst error counts up to this multiple of its 99th percentile: a few elements at a jump, where eager and
float64 fall to different sides, must not loosen all the others."""
SAMPLE = 1 << 16
"""Elements that medians and percentiles are taken from."""
ROUGH = 2.0**-5
ROUGH_INPUT = 2.0**-7
"""Errors within bfloat16's rounding of inputs (four times 2**-9) and outputs are called a loss of precision."""
FORMULA = 2.0**-7
"""Where eager has NaN and the formula a number: how close a candidate's is to it, within bfloat16's rounding."""
FLUSHED = {torch.float64: torch.finfo(torch.float64).tiny}
OTHER_FLUSHED = torch.finfo(torch.float32).tiny
"""Results below the smallest normal number of the precision computed in may be flushed to zero."""


class Agreement(str, Enum):
    """The verdict on one output. Values are those of the evaluator's error types."""

    AGREE = "agree"
    WRONG_VALUES = "wrong_values"
    LOW_PRECISION = "low_precision"
    WRONG_NONFINITE = "wrong_nonfinite"


@dataclass(frozen=True)
class Comparison:
    """What was found. For several outputs: the first that does not agree, else the one closest to its limit."""

    agreement: Agreement
    output: int = 0
    """Which output."""
    index: tuple[int, ...] = ()
    """The worst element: where the error is largest against what is allowed there."""
    produced: float | complex | int | bool = 0.0
    expected: float | complex | int | bool = 0.0
    """Values at ``index``: the candidate's, and the float64 reference's (eager's where it is not finite)."""
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    """Largest over the finite elements, against the float64 reference; NaN-free."""
    excess: float = 0.0
    """Error over allowed error at ``index``; above 1 it does not agree."""
    wrong: int = 0
    """Number of elements out of bounds."""
    total: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the output may stand for eager's."""
        return self.agreement is Agreement.AGREE

    def message(self) -> str:
        """One sentence that a reader can act on."""
        if self.agrees:
            return "agrees"
        where = f"output{list(self.index)}" if not self.output else f"output {self.output}{list(self.index)}"
        values = f"is {_number(self.produced)}, expected {_number(self.expected)}"
        share = f"{self.wrong} of {self.total} elements are off"
        if self.agreement is Agreement.WRONG_NONFINITE:
            return f"NaN or infinity in the wrong place: {where} {values}; {share}"
        errors = f"largest error {self.max_abs_error:.3g} absolute, {self.max_rel_error:.3g} relative"
        if self.agreement is Agreement.LOW_PRECISION:
            return (
                f"less accurate than eager allows, {self.excess:.3g} times the limit: {where} {values}; {share}; "
                f"{errors}; compute and accumulate in at least the precision that eager uses"
            )
        return f"{where} {values}; {share}; {errors}"


def _number(value: float | complex | int | bool) -> str:
    return str(value) if isinstance(value, (bool, int)) else f"{value:.7g}"


@dataclass(frozen=True)
class _Limits:
    """What is allowed beside one eager output. Kept as long as the case is, so as narrow as it may be."""

    eager: torch.Tensor
    precise: torch.Tensor
    """Real; float32 for half precision, else float64; eager's where there is no reference."""
    slope: torch.Tensor
    """Response for a unit of 1."""
    allowed: torch.Tensor
    typical: float
    formula: torch.Tensor | None = None
    """Real, of eager's dtype: see ``Reference.formula``."""

    def rough(self) -> torch.Tensor:
        """Errors up to here look like rounding in a narrower dtype."""
        magnitude = torch.nan_to_num(self.precise.abs(), nan=0.0, posinf=0.0)
        return ROUGH * magnitude.clamp(min=self.typical / 8) + ROUGH_INPUT * self.slope + self.allowed


def compare_outputs(
    operation: Operation,
    produced: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    reference: Reference,
) -> Comparison:
    """All outputs of one call; structure, shapes and dtypes must already agree (contract.py).

    ``expected`` is eager's; limits are kept in ``reference`` while it is the same tensors. Raises ValueError.
    """
    closest = Comparison(Agreement.AGREE)
    for index, (mine, eager) in enumerate(zip(produced, expected, strict=True)):
        found = _compare(mine, eager, reference, index, operation.tolerance_scale)
        if not found.agrees:
            return found
        if found.excess >= closest.excess:
            closest = found
    return closest


def compare(
    candidate: torch.Tensor,
    eager: torch.Tensor,
    precise: torch.Tensor | None,
    response: torch.Tensor | None = None,
    terms: int = 1,
    scale: float = 1.0,
) -> Comparison:
    """One output against eager's and the float64 one (None: there is none), all of one shape.

    Raises ValueError where shapes or dtypes differ.
    """
    reference = Reference(None if precise is None else [precise], [response], terms)
    return _compare(candidate, eager, reference, 0, scale)


def outputs_agree(
    operation: Operation,
    produced: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    reference: Reference,
) -> torch.Tensor:
    """What ``compare_outputs`` finds, as a bool scalar that stays on the device: of a GPU it is asked once, not a dozen
    times. Raises ValueError."""
    answers = []
    for index, (mine, eager) in enumerate(zip(produced, expected, strict=True)):
        _check_alike(mine, eager)
        if _exact(eager):
            answers.append((mine == eager).all())
        elif eager.numel():
            limits = _kept_limits(eager, reference, index)
            answers.append(~(_errors(mine, eager, limits, operation.tolerance_scale).excess > 1).any())
    device = expected[0].device if expected else None
    return torch.stack(answers).all() if answers else torch.ones((), dtype=torch.bool, device=device)


@dataclass(frozen=True)
class Interval:
    """Answers that agree whatever else is asked of them; others may agree as well."""

    dtype: torch.dtype
    """Of the output, if it is complex of its parts."""
    precise: torch.Tensor
    """Float32 for half precision, else float64; NaN where there is no such interval. A complex output has a last
    dimension of two parts."""
    allowed: torch.Tensor
    """What an answer may be away from it."""


def interval(operation: Operation, eager: torch.Tensor, reference: Reference, index: int) -> Interval | None:
    """For output ``index`` of a call: what lies within it agrees. None where only the same value is certain to."""
    if _exact(eager) or eager.dtype.itemsize == 1:
        return None
    limits = _kept_limits(eager, reference, index)
    theirs = _real(eager)
    both = theirs.isfinite() & limits.precise.isfinite()
    precise = torch.where(both, limits.precise, math.nan)
    return Interval(theirs.dtype, precise, limits.allowed * operation.tolerance_scale)


def _compare(
    candidate: torch.Tensor, eager: torch.Tensor, reference: Reference, index: int, scale: float
) -> Comparison:
    _check_alike(candidate, eager)
    if not eager.numel():
        return Comparison(Agreement.AGREE, index)
    if _exact(eager):
        return _compare_exactly(candidate, eager, index)
    return _compare_floats(candidate, eager, _kept_limits(eager, reference, index), index, scale)


def _check_alike(candidate: torch.Tensor, eager: torch.Tensor) -> None:
    if candidate.shape != eager.shape or candidate.dtype != eager.dtype:
        raise ValueError(
            f"{candidate.dtype} of shape {tuple(candidate.shape)} beside {eager.dtype} of {tuple(eager.shape)}"
        )


def _exact(eager: torch.Tensor) -> bool:
    return not eager.is_floating_point() and not eager.is_complex()


def _kept_limits(eager: torch.Tensor, reference: Reference, index: int) -> _Limits:
    limits: _Limits | None = reference.prepared.get(index)
    if limits is None or limits.eager is not eager:
        limits = _limits(eager, reference, index)
        reference.prepared[index] = limits
    return limits


def _compare_exactly(candidate: torch.Tensor, eager: torch.Tensor, output: int) -> Comparison:
    differs = candidate != eager
    wrong = int(differs.sum())
    if not wrong:
        return Comparison(Agreement.AGREE, output, total=eager.numel())
    position = int(differs.reshape(-1).to(torch.uint8).argmax())
    distance = (candidate.double() - eager.double()).abs()
    relative = (distance / eager.double().abs().clamp(min=1)).max()
    index = _unravel(position, eager.shape)
    return Comparison(
        Agreement.WRONG_VALUES, output, index, candidate[index].item(), eager[index].item(),
        float(distance.max()), float(relative), math.inf, wrong, eager.numel(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Errors:
    """Of every element of an output; all tensors of one shape."""

    mine: torch.Tensor
    theirs: torch.Tensor
    """Real."""
    by_value: torch.Tensor
    """Where a finite error tells."""
    error: torch.Tensor
    misplaced: torch.Tensor
    """NaN or infinity where there should be none, or the reverse."""
    excess: torch.Tensor
    """Error over allowed error; above 1 it does not agree."""


def _errors(candidate: torch.Tensor, eager: torch.Tensor, limits: _Limits, scale: float) -> _Errors:
    mine, theirs = _real(candidate), _real(eager)
    precise = limits.precise
    rounded = (
        precise.to(eager.dtype).to(theirs.dtype) if eager.dtype.itemsize == 1 else precise.to(theirs.dtype)
    )
    mine_finite, rounded_finite = mine.isfinite(), rounded.isfinite()
    regular = mine_finite & theirs.isfinite()
    # Where eager or the candidate is not finite: like eager, or like the rounded truth, or close to a finite truth.
    fine = _same(mine, theirs) | _same(mine, rounded)
    if limits.formula is not None:
        alike = _same(mine, limits.formula) | torch.isclose(mine, limits.formula, rtol=FORMULA, atol=0)
        fine |= alike & ~theirs.isfinite()
    misplaced = ~regular & ~fine & ~(mine_finite & rounded_finite)
    by_value = mine_finite & precise.isfinite() & ~fine
    error = torch.where(by_value, mine.to(precise.dtype) - precise, 0).abs_()
    excess = torch.where(misplaced, math.inf, error / (limits.allowed * scale))
    return _Errors(mine, theirs, by_value, error, misplaced, excess)


def _compare_floats(
    candidate: torch.Tensor, eager: torch.Tensor, limits: _Limits, output: int, scale: float
) -> Comparison:
    found = _errors(candidate, eager, limits, scale)
    precise, error, excess = limits.precise, found.error, found.excess
    wrong = excess > 1
    count = int(wrong.sum())
    position = int(excess.reshape(-1).argmax())
    agreement = Agreement.AGREE
    if count:
        rough = bool((error <= limits.rough() * scale)[wrong].all())
        agreement = Agreement.LOW_PRECISION if rough else Agreement.WRONG_VALUES
        if bool(found.misplaced.any()):
            agreement = Agreement.WRONG_NONFINITE
    magnitude = precise.abs().clamp(min=torch.finfo(found.theirs.dtype).tiny)
    relative = torch.where(found.by_value, error / magnitude, 0)
    index = _unravel(position, found.mine.shape)
    told = precise[index].isfinite() and found.theirs[index].isfinite()
    shown = precise[index] if told else found.theirs[index]
    return Comparison(
        agreement, output, index[: eager.dim()], found.mine[index].item(), shown.item(), float(error.max()),
        float(relative.max()), float(excess.reshape(-1)[position]), count, eager.numel(),
    )  # fmt: skip


def _same(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a == b) | (a.isnan() & b.isnan())


def _unravel(position: int, shape: Sequence[int]) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        position, here = divmod(position, size)
        index.append(here)
    return tuple(reversed(index))


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of reals in a last dimension; a real one as it is, float8 in float32."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def _magnitude(tensor: torch.Tensor) -> torch.Tensor:
    """Absolute values in the shape of ``_real``: both parts of a complex number have its modulus."""
    return tensor.abs().unsqueeze(-1).expand(*tensor.shape, 2) if tensor.is_complex() else tensor.abs()


def _limits(eager: torch.Tensor, reference: Reference, index: int) -> _Limits:
    wide = torch.complex128 if eager.is_complex() else torch.float64
    own = eager.to(wide)
    found = reference.output(index, eager)
    precise = own if found is None else found.to(wide)
    # A reference that is not finite where eager is (its own domain ends elsewhere) tells nothing.
    precise = torch.where(own.isfinite() & ~precise.isfinite(), own, precise)
    dtype = eager.dtype.to_real() if eager.is_complex() else eager.dtype
    info = torch.finfo(dtype)
    magnitude = torch.nan_to_num(_magnitude(precise), nan=0.0, posinf=0.0)
    typical = _typical(magnitude)
    slope = _slope(reference, index, eager, magnitude)
    rounding = info.eps / 2 * magnitude.clamp(min=info.tiny)
    grown = GROWTH * math.sqrt(reference.terms) if reference.terms > 1 else 0.0
    units = min(MOST_UNITS, RESPONSE_UNITS + grown) if reference.product else RESPONSE_UNITS + grown
    unit = DOUBLE_UNIT if dtype == torch.float64 else SINGLE_UNIT
    response = torch.minimum(unit * slope, JUMP / units * magnitude.clamp(min=8 * typical)) + unit * typical
    floor = ROUNDING_UNITS.get(dtype, OTHER_ROUNDING_UNITS) * rounding + units * response
    if grown:
        carried = grown * unit * magnitude.clamp(min=typical)
        floor += torch.minimum(carried, MOST_UNITS * response) if reference.product else carried
    floor += FLUSHED.get(dtype, OTHER_FLUSHED)
    own_error = torch.nan_to_num(_real(own - precise).abs(), nan=0.0, posinf=0.0)
    one = rounding + response
    allowed = torch.maximum(floor, FACTOR * _worst(own_error / one) * one)
    allowed = torch.maximum(allowed, FACTOR * own_error)
    # A formula in float64 ends in 0 (gelu far below zero: 1 + erf) where a better one still has a digit.
    lost = (_real(precise) == 0) & (_real(own) == 0)
    allowed = torch.where(lost, allowed.clamp(min=DOUBLE_UNIT * reference.scale), allowed)
    narrow = torch.float64 if dtype == torch.float64 else torch.float32
    kept = torch.float32 if info.bits < 32 else torch.float64
    formula = (
        reference.formula[index] if reference.formula is not None and index < len(reference.formula) else None
    )
    rounded = None if formula is None or formula.shape != eager.shape else _real(formula.to(eager.dtype))
    return _Limits(eager, _real(precise).to(kept), slope.to(narrow), allowed.to(narrow), typical, rounded)


def _slope(reference: Reference, index: int, eager: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """The response for a unit of 1, in the shape of ``_real(eager)``.

    Where none was measured, that of a product: the element itself.
    """
    found = reference.response[index] if index < len(reference.response) else None
    if found is None or found.shape != eager.shape:
        return magnitude
    slope = torch.nan_to_num(found.double() / SINGLE_UNIT, nan=0.0, posinf=0.0)
    return slope.unsqueeze(-1).expand(*slope.shape, 2) if eager.is_complex() else slope


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)]


def _typical(magnitude: torch.Tensor) -> float:
    """Median of the elements that are not zero."""
    sample = _sample(magnitude)
    sample = sample[sample > 0]
    return float(sample.median()) if sample.numel() else 0.0


def _worst(units: torch.Tensor) -> float:
    """The largest, outliers cut off."""
    units = torch.nan_to_num(units, nan=0.0, posinf=0.0)
    sample = _sample(units)[: 1 << 20]
    usual = float(torch.quantile(sample, 0.99)) if sample.numel() else 0.0
    return min(float(units.max()), OUTLIERS * usual)

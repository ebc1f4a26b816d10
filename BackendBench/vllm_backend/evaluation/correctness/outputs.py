"""What a candidate's outputs must be: the contract first, then the values.

- Everything here reads the judge's memory; what the candidate's process says of its outputs (shapes, strides)
  can only make it fail: values are taken from where the judge told it to put them.
- Values are held against eager and against a float64 reference (operations/tolerances.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ...operations import contract as promised
from ...operations import tolerances
from ...operations.operation import Operation
from ...state.error_type import ErrorType
from ..failure import Failure, shorten
from ..memory.calls import dtype_name
from ..memory.shared_calls import Buffers, LaidOut
from . import huge
from .case_plan import CheckedCase, Chunk

ROUGH = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Relative agreement asked of a call checked while it is timed. It only has to tell this call's answer from a stale
or missing one: accuracy is judged beforehand, on the same shapes."""


def check_case(
    operation: Operation,
    reply: dict[str, Any],
    index: int,
    item: LaidOut,
    case: CheckedCase,
    buffers: Buffers,
) -> Failure | None:
    """The first thing that is wrong with one case, or None."""
    failure = contract(reply, index, case.expected)
    if failure is None and not buffers.untouched(item, case.inputs):
        failure = Failure(ErrorType.INPUT_MODIFIED, "an input tensor was changed; write to a new output")
    if failure is None:
        failure = compare(operation, buffers.read(item), case.expected, case.precise)
    return None if failure is None else Failure(failure.error_type, shorten(failure.message), case.name)


def all_right(reply: dict[str, Any], chunk: Chunk, buffers: Buffers) -> bool:
    """Whether ``check_case`` would surely find nothing in any case of a chunk. A GPU is asked once or twice for all of
    them, not a dozen times for each: it answers in turns with the candidates' work."""
    image, cases = chunk.image, enumerate(chunk.cases)
    if image is None or any(contract(reply, index, case.expected) is not None for index, case in cases):
        return False  # the long way, which says what it is
    memory = buffers.outputs.tensor
    untouched, same = torch.stack([image.untouched(buffers.inputs.tensor), image.same(memory)]).tolist()
    return untouched and (same or bool(image.right(memory)))


def contract(reply: dict[str, Any], index: int, expected: Sequence[torch.Tensor]) -> Failure | None:
    """Structure, shapes, dtypes, strides and aliasing as the candidate's process describes them."""
    try:
        described = reply["results"][index]
        structure, outputs = described["structure"], described["outputs"]
        if structure != "tensors":
            wanted = "a tensor" if len(expected) == 1 else f"a tuple of {len(expected)} tensors"
            return Failure(
                ErrorType.WRONG_STRUCTURE, f"returned {shorten(str(structure), 200)} instead of {wanted}"
            )
        if len(outputs) != len(expected):
            text = f"returned {len(outputs)} tensors instead of {len(expected)}"
            return Failure(ErrorType.WRONG_STRUCTURE, text)
        for output, tensor in zip(outputs, expected, strict=True):
            failure = _one(output, tensor)
            if failure is not None:
                return failure
    except (LookupError, TypeError, ValueError, OverflowError):  # the last of a stride that is infinite
        return Failure(ErrorType.PROTOCOL_VIOLATION, "a malformed description of the outputs")
    return None


def _one(output: dict[str, Any], expected: torch.Tensor) -> Failure | None:
    shape, dtype = list(expected.shape), dtype_name(expected.dtype)
    if not output["plain"]:
        return Failure(
            ErrorType.WRONG_STRUCTURE, "returned a subclass of torch.Tensor; return a plain tensor"
        )
    if output["device"] != expected.device.type:
        return Failure(
            ErrorType.WRONG_STRUCTURE,
            f"the output is on {output['device']!s:.20}, not on {expected.device.type}",
        )
    if output["shape"] != shape:
        return Failure(ErrorType.WRONG_SHAPE, f"output of shape {output['shape']!s:.200}, expected {shape}")
    if output["dtype"] != dtype:
        return Failure(ErrorType.WRONG_DTYPE, f"output of dtype {output['dtype']!s:.40}, expected {dtype}")
    overlapping = promised.stride_error(shape, [int(s) for s in output["stride"]])
    if overlapping:
        return Failure(ErrorType.WRONG_STRIDES, shorten(overlapping, 300))
    if output["aliases_input"]:
        return Failure(
            ErrorType.ALIASED_OUTPUT, "the output shares memory with an input; return a new tensor"
        )
    if output["aliases_output"]:
        return Failure(ErrorType.ALIASED_OUTPUT, "the output shares memory with an earlier output")
    return None


def compare(
    operation: Operation,
    produced: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    precise: tolerances.Reference | huge.Answer,
) -> Failure | None:
    """Values against eager's and the float64 reference's; of a huge call, against its ``Answer``."""
    if isinstance(precise, huge.Answer):
        return precise.failure(operation, produced, _close)
    if all(torch.equal(mine, eager) for mine, eager in zip(produced, expected, strict=True)):
        return None  # eager's own answer: the long way round would find no more
    if bool(tolerances.outputs_agree(operation, produced, expected, precise)):
        return None
    found = tolerances.compare_outputs(operation, produced, expected, precise)
    return None if found.agrees else Failure(ErrorType(found.agreement.value), found.message())


def roughly_equal(produced: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> torch.Tensor:
    """Whether timed calls have these calls' answers: stale, partial and missing work shows, rounding does not. Each row
    of these tensors is an answer of its own. A bool scalar on the device."""
    answers = [
        _near(one, two)
        for mine, eager in zip(produced, expected, strict=True)
        for one, two in _rows(mine, eager)
    ]
    return torch.stack(answers).all()


def _rows(mine: torch.Tensor, eager: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Side by side: all rows, or parts of each where they are large."""
    if eager.numel() <= huge.SLICE:
        yield mine, eager
        return
    for row, other in zip(mine, eager, strict=True):
        yield from ((one[None], two[None]) for one, two in huge.slices(row, other))


def _close(mine: torch.Tensor, eager: torch.Tensor) -> bool:
    return bool(_near(mine[None], eager[None]))


def _near(mine: torch.Tensor, eager: torch.Tensor) -> torch.Tensor:
    """Like torch.allclose with equal NaNs, relative to the mean magnitude of a row as well, and without waiting for a
    GPU."""
    mine, eager = mine.reshape(len(mine), -1), eager.reshape(len(eager), -1)
    relative = ROUGH.get(eager.dtype)
    if relative is None:
        return (mine == eager).all()
    wide = torch.float64 if eager.dtype == torch.float64 else torch.float32
    mine, eager = mine.to(wide), eager.to(wide)
    finite = torch.isfinite(eager)
    magnitude = torch.where(finite, eager, 0).abs()
    allowed = relative * (magnitude + (magnitude.mean(1, keepdim=True) if eager.numel() else 0.0))
    same = (mine == eager) | (mine.isnan() & eager.isnan())
    return (same | (finite & ((mine - eager).abs() <= allowed))).all()

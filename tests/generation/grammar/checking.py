"""Judges text of the grammar in this process, with the evaluator's own parts. Not isolated: only for our own text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from BackendBench.vllm_backend.evaluation.candidate.compute_watch import ComputeWatch
from BackendBench.vllm_backend.evaluation.candidate.loading import describe, load_module
from BackendBench.vllm_backend.evaluation.failure import from_exception
from BackendBench.vllm_backend.evaluation.screening.screen import screen
from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar import Written
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.operations import catalog, contract, tolerances, trees
from BackendBench.vllm_backend.operations.edge_cases.values import Dtypes
from BackendBench.vllm_backend.operations.operation import Case, Operation
from BackendBench.vllm_backend.state.error_type import ErrorType

CPU = torch.device("cpu")
GPU_DTYPES = Dtypes(low=(torch.bfloat16, torch.float16), wide=(), integers=(torch.int32,))
NOT_STRUCTURE = (
    "name ",
    "doc",
    "before",
    "after",
    "fence",
    "block",
    "warps",
    "chunk",
    "threshold",
    "programs",
)
"""Choices that only change names, prose or sizes."""


@dataclass(frozen=True)
class Solved:
    """A case with its answers."""

    case: Case
    expected: list[torch.Tensor]
    precise: tolerances.Reference


def write(
    operation: str, dsl: str, seed: int, mistake: str = "", **forced: str | int
) -> tuple[Written, Choices]:
    """One derivation with its choices."""
    rng = Random(seed)
    choices = Choices(rng, forced=forced)
    target = "cpu" if dsl == "numba" else "cuda"
    return grammar.write_with(operation, dsl, target, choices, rng, mistake=mistake), choices  # type: ignore[arg-type]


def every_style(operation: str, dsl: str, tries: int = 200) -> Iterator[tuple[int, Written]]:
    """Derivations without a mistake, until each option of each choice of structure was seen, or ``tries`` are over."""
    seen: set[tuple[str, str | int]] = set()
    for seed in range(tries):
        written, choices = write(operation, dsl, seed)
        made = {item for item in choices.made.items() if not item[0].startswith(NOT_STRUCTURE)}
        if not made <= seen:
            seen |= made
            yield seed, written


@functools.cache
def solved(operation: str, most: int = 1 << 30, gpu: bool = False) -> tuple[Operation, tuple[Solved, ...]]:
    """The cases with at most ``most`` elements of input, answered once."""
    found = catalog.resolve(operation)
    return found, tuple(_solve(found, c) for c in _cases(found, gpu) if _size(c) <= most)


def _cases(operation: Operation, gpu: bool) -> Sequence[Case]:
    if not gpu:
        return operation.make_cases(CPU, 1)
    original = Dtypes.of
    Dtypes.of = staticmethod(lambda device: GPU_DTYPES)  # type: ignore[method-assign]
    try:
        return operation.make_cases(CPU, 1)
    finally:
        Dtypes.of = original  # type: ignore[method-assign]


def _size(case: Case) -> int:
    return sum(t.numel() for t in trees.tensors(case.call))


def _solve(operation: Operation, case: Case) -> Solved:
    expected = trees.leaves(operation.reference(*case.call.args, **case.call.kwargs)) or []
    return Solved(case, [t.clone() for t in expected], tolerances.float64_call(operation, case.call))


def verdict(
    written: Written,
    most: int = 1 << 30,
    gpu: bool = False,
    watched: bool = True,
    wanted: Callable[[Case], bool] = lambda case: True,
) -> tuple[ErrorType | None, str]:
    """What the evaluator would say of its values; the first error and its message, or (None, '')."""
    function = f"{written.operation}_kernel_impl"
    refused = screen(written.code, function)
    if refused:
        return refused.error_type, refused.message
    operation, cases = solved(written.operation, most, gpu)
    try:
        kernel = getattr(load_module(written.code, "candidate"), function)
    except Exception as error:
        failure = from_exception(describe(error))
        return failure.error_type, failure.message
    earlier: list[torch.Tensor] = []
    for one in cases:
        if wanted(one.case):
            found = _judge(operation, kernel, one, watched, earlier)
            if found[0] is not None:
                return found[0], f"{one.case.name}: {found[1]}"
    return None, ""


def _judge(
    operation: Operation, kernel: Callable[..., Any], one: Solved, watched: bool, earlier: list[torch.Tensor]
) -> tuple[ErrorType | None, str]:
    call = trees.map_call(lambda t: trees.through_storage(t, torch.clone), one.case.call)
    watch = ComputeWatch()
    try:
        if watched:
            with watch:
                result = kernel(*call.args, **call.kwargs)
        else:
            result = kernel(*call.args, **call.kwargs)
    except Exception as error:
        failure = from_exception(describe(error))
        return failure.error_type, failure.message
    if watch.calls:
        return ErrorType.LIBRARY_CALL, ", ".join(watch.calls)
    outputs = trees.leaves(result)
    if outputs is None or len(outputs) != len(one.expected):
        return ErrorType.WRONG_STRUCTURE, type(result).__name__
    for output, expected in zip(outputs, one.expected, strict=True):
        for error_type, message in (
            (ErrorType.WRONG_SHAPE, contract.shape_error(output.shape, expected.shape)),
            (ErrorType.WRONG_DTYPE, contract.dtype_error(output.dtype, expected.dtype)),
            (ErrorType.WRONG_STRIDES, contract.stride_error(output.shape, output.stride())),
        ):
            if message:
                return error_type, message
        if output.numel() and any(_shares(output, other) for other in [*trees.tensors(call), *earlier]):
            return ErrorType.ALIASED_OUTPUT, "memory is shared"
        earlier.append(output)
    for before, after in zip(trees.tensors(one.case.call), trees.tensors(call), strict=True):
        if not torch.equal(before.nan_to_num(), after.nan_to_num()):
            return ErrorType.INPUT_MODIFIED, "an input was changed"
    compared = tolerances.compare_outputs(operation, outputs, one.expected, one.precise)
    return (None, "") if compared.agrees else (ErrorType(compared.agreement.value), compared.message())


def _shares(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(b.numel()) and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()

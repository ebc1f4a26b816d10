"""A kernel that is known to be right. Where it is found wrong, something is wrong with this machine or this
installation, and no verdict of this judge is worth anything: half a library that candidates cannot see is enough.
"""

from __future__ import annotations

from importlib.util import find_spec

from ..state.error_type import ErrorType
from ..state.source import source_hash
from ..state.task import Dsl, EvaluationTask, Target
from ..state.verdict import Verdict

NAME = "control"
SOURCE = """
import torch


def control(x):
    return x * 1.5 + 0.25


def control_inputs(seed, device):
    for shape in ((1,), (1023,), (64, 65)):
        yield (torch.randn(shape, device=device),), {}


def control_workloads(seed, device):
    return iter(())
"""
"""A user's own operation with three cases and nothing to time."""
TRITON = """
import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 1.5 + 0.25, mask=mask)


def control_kernel_impl(x):
    y = torch.empty_like(x)
    _kernel[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y
"""
NUMBA = """
import numba
import torch


@numba.njit(parallel=True)
def _kernel(x, y):
    for i in numba.prange(x.size):
        y[i] = x[i] * 1.5 + 0.25


def control_kernel_impl(x):
    y = torch.empty_like(x)
    _kernel(x.reshape(-1).numpy(), y.reshape(-1).numpy())
    return y
"""
KERNELS: dict[Target, tuple[Dsl, str]] = {"cuda": ("triton", TRITON), "cpu": ("numba", NUMBA)}
SAYS_LITTLE = {ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY}
"""Of a machine that is slow or full for a while."""
SUSPECT = {
    ErrorType.IMPORT_ERROR, ErrorType.COMPILE_ERROR, ErrorType.RUNTIME_ERROR, ErrorType.CRASH,
    ErrorType.PROTOCOL_VIOLATION,
}  # fmt: skip
"""What candidates fail with where something is missing."""


def task(target: Target) -> EvaluationTask | None:
    """The kernel to be judged, as ``SOURCE`` is; None where the library that it is written with is not installed."""
    dsl, code = KERNELS[target]
    if find_spec(dsl) is None:
        return None
    return EvaluationTask(
        id=NAME, run=NAME, operation=NAME, code=code, hash=source_hash(code), dsl=dsl, target=target
    )


def complaint(verdict: Verdict) -> str:
    """What is wrong here, by the verdict about the kernel; '' where nothing is."""
    if verdict.correct or verdict.error_type in SAYS_LITTLE:
        return ""
    kind = verdict.error_type.value if verdict.error_type else "rejected"
    return (
        f"a kernel that is known to be right is found wrong here ({kind}: {' '.join(verdict.error.split())[:300]}): "
        "no verdict can be believed until that is mended"
    )

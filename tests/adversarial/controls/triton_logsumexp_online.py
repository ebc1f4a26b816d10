# operation: logsumexp
# target: cuda
"""Largest value and scaled sum in one pass."""

import torch
import triton
import triton.language as tl


def _rows(x, dim):
    """The tensor as (kept, reduced), the shape of the kept part, and the same with the reduced dimensions as 1."""
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else list(dim) or range(x.dim())
    reduced = sorted({d % max(1, x.dim()) for d in dims}) if x.dim() else []
    kept = [d for d in range(x.dim()) if d not in reduced]
    shape = [x.shape[d] for d in kept]
    ones = [1 if d in reduced else x.shape[d] for d in range(x.dim())]
    count = 1
    for d in reduced:
        count *= x.shape[d]
    total = 1
    for n in shape:
        total *= n
    return x.permute([*kept, *reduced]).contiguous().reshape(total, count), shape, ones


@triton.jit
def _logsumexp(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    top = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=float("-inf")).to(tl.float32)
        new = tl.maximum(top, tl.max(v, axis=0))
        shift = tl.where(tl.abs(new) == float("inf"), 0.0, new)
        total = total * tl.exp(top - shift) + tl.sum(tl.exp(v - shift), axis=0)
        top = new
    shift = tl.where(tl.abs(top) == float("inf"), 0.0, top)
    tl.store(y_ptr + row, (tl.log(total) + shift).to(y_ptr.dtype.element_ty))


def logsumexp_kernel_impl(x, dim, keepdim=False):
    if not x.dtype.is_floating_point:
        x = x.to(torch.float32)
    rows, shape, ones = _rows(x, dim)
    y = torch.full((rows.shape[0],), float("-inf"), dtype=x.dtype, device=x.device)
    if rows.numel():
        _logsumexp[(rows.shape[0],)](rows, y, rows.shape[1], BLOCK=1024)
    return y.reshape(ones if keepdim else shape)

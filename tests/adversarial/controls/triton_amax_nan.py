# operation: amax
# target: cuda
"""NaN wins."""

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
def _amax(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best = tl.load(x_ptr + row * columns)
    undefined = 0
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0)
        v = tl.where(i < columns, v, best)
        undefined += tl.sum((v != v).to(tl.int32), axis=0)
        top = tl.max(tl.where(v != v, best, v), axis=0)
        best = tl.where((top > best) | (best != best), top, best).to(y_ptr.dtype.element_ty)
    if undefined > 0:
        best = (best * 0 + float("nan")).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + row, best)


def amax_kernel_impl(x, dim=(), keepdim=False):
    rows, shape, ones = _rows(x, dim)
    y = torch.empty(rows.shape[0], dtype=x.dtype, device=x.device)
    if y.numel():
        _amax[(y.numel(),)](rows, y, rows.shape[1], BLOCK=1024)
    return y.reshape(ones if keepdim else shape)

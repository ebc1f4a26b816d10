# operation: mean
# target: cuda
"""A sum in float32 and one division."""

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
def _mean(x_ptr, y_ptr, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros((BLOCK,), dtype=ACC)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(ACC)
    tl.store(y_ptr + row, (tl.sum(total, axis=0) / columns).to(y_ptr.dtype.element_ty))


def mean_kernel_impl(x, dim=None, keepdim=False, *, dtype=None):
    dtype = dtype or x.dtype
    rows, shape, ones = _rows(x.to(dtype), dim)
    y = torch.full((rows.shape[0],), float("nan"), dtype=dtype, device=x.device)
    if rows.numel():
        wide = tl.float64 if dtype == torch.float64 else tl.float32
        _mean[(rows.shape[0],)](rows, y, rows.shape[1], ACC=wide, BLOCK=1024)
    return y.reshape(ones if keepdim else shape)

# operation: sum
# target: cuda
"""Programs that share a long row add up with atomics, in an order that varies from call to call."""

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
def _sum(x_ptr, y_ptr, columns, PART: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * PART
    total = tl.zeros((BLOCK,), dtype=y_ptr.dtype.element_ty)
    for start in range(first, first + PART, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(y_ptr.dtype.element_ty)
    tl.atomic_add(y_ptr + row, tl.sum(total, axis=0))


def sum_kernel_impl(x, dim=None, keepdim=False, *, dtype=None):
    dtype = dtype or (x.dtype if x.dtype.is_floating_point else torch.int64)
    rows, shape, ones = _rows(x.to(dtype), dim)
    wide = dtype if dtype in (torch.float64, torch.int64) else torch.float32
    y = torch.zeros(rows.shape[0], dtype=wide, device=x.device)
    if rows.numel():
        _sum[(rows.shape[0], triton.cdiv(rows.shape[1], 8192))](rows, y, rows.shape[1], PART=8192, BLOCK=1024)
    return y.to(dtype).reshape(ones if keepdim else shape)

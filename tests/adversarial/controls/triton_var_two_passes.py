# operation: var
# target: cuda
"""Mean first, squared deviations second."""

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
def _var(x_ptr, y_ptr, columns, correction, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(tl.float32)
    mean = tl.sum(total, axis=0) / columns
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(tl.float32) - mean
        squares += tl.where(i < columns, v * v, 0.0)
    left = tl.maximum(columns - correction, 0.0)
    tl.store(y_ptr + row, (tl.sum(squares, axis=0) / left).to(y_ptr.dtype.element_ty))


def var_kernel_impl(x, dim=None, *, correction=1, keepdim=False):
    rows, shape, ones = _rows(x, dim)
    y = torch.full((rows.shape[0],), float("nan"), dtype=x.dtype, device=x.device)
    if rows.numel():
        _var[(rows.shape[0],)](
            rows, y, rows.shape[1], float(1 if correction is None else correction), BLOCK=1024
        )
    return y.reshape(ones if keepdim else shape)

# operation: sum
# target: cpu
"""Partial sums of blocks keep the error small."""

import numba
import torch


def _rows(x, dim):
    """The tensor as (kept, reduced), the shape of the kept part, the same with the reduced dimensions as 1."""
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


@numba.njit
def _sum(x, y):
    for r in range(x.shape[0]):
        total = y[r] * 0
        for start in range(0, x.shape[1], 128):
            part = y[r] * 0
            for c in range(start, min(start + 128, x.shape[1])):
                part += x[r, c]
            total += part
        y[r] = total


def sum_kernel_impl(x, dim=None, keepdim=False, *, dtype=None):
    dtype = dtype or (x.dtype if x.dtype.is_floating_point else torch.int64)
    rows, shape, ones = _rows(x.to(dtype), dim)
    y = torch.zeros(rows.shape[0], dtype=dtype)
    _sum(rows.numpy(), y.numpy())
    return y.reshape(ones if keepdim else shape)

# operation: argmax
# target: cpu
"""Indices are int64; the first of equals; NaN counts as largest."""

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
def _argmax(x, y):
    for r in range(x.shape[0]):
        best = 0
        for c in range(1, x.shape[1]):
            v, b = x[r, c], x[r, best]
            if (v > b or v != v) and b == b:
                best = c
        y[r] = best


def argmax_kernel_impl(x, dim=None, keepdim=False):
    rows, shape, ones = _rows(x, dim)
    y = torch.empty(rows.shape[0], dtype=torch.int64)
    _argmax(rows.numpy(), y.numpy())
    return y.reshape(ones if keepdim else shape)

# operation: var
# target: cpu
"""Mean first, squared deviations second."""

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
def _var(x, y, correction):
    n = x.shape[1]
    for r in range(x.shape[0]):
        mean = 0.0
        for c in range(n):
            mean += x[r, c]
        mean = mean / n if n else 0.0
        squares = 0.0
        for c in range(n):
            squares += (x[r, c] - mean) ** 2
        left = max(0.0, n - correction)
        y[r] = (
            squares / left
            if left > 0
            else (float("nan") if squares == 0 or squares != squares else float("inf"))
        )


def var_kernel_impl(x, dim=None, *, correction=1, keepdim=False):
    rows, shape, ones = _rows(x, dim)
    y = torch.empty(rows.shape[0], dtype=x.dtype)
    _var(rows.numpy(), y.numpy(), float(1 if correction is None else correction))
    return y.reshape(ones if keepdim else shape)

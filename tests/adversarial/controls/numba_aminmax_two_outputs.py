# operation: aminmax
# target: cpu
"""Two outputs from one pass."""

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
def _aminmax(x, low, high):
    for r in range(x.shape[0]):
        a = b = x[r, 0]
        for c in range(1, x.shape[1]):
            v = x[r, c]
            if v < a or v != v:
                a = v
            if v > b or v != v:
                b = v
        low[r] = a
        high[r] = b


def aminmax_kernel_impl(self, *, dim=None, keepdim=False):
    rows, shape, ones = _rows(self, dim)
    low, high = torch.empty(rows.shape[0], dtype=self.dtype), torch.empty(rows.shape[0], dtype=self.dtype)
    _aminmax(rows.numpy(), low.numpy(), high.numpy())
    shape = ones if keepdim else shape
    return low.reshape(shape), high.reshape(shape)

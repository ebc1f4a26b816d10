# operation: where
# target: cpu
"""A condition and two sides, all broadcast."""

import numba
import torch


@numba.njit
def _where(c, a, b, y):
    for i in range(y.size):
        y[i] = a[i] if c[i] else b[i]


def where_kernel_impl(condition, a, b):
    dtype = torch.result_type(a, b)
    c, a, b = torch.broadcast_tensors(condition, a, b)
    y = torch.empty(c.shape, dtype=dtype)
    c, a, b = c.contiguous().view(-1), a.to(dtype).contiguous().view(-1), b.to(dtype).contiguous().view(-1)
    _where(c.numpy(), a.numpy(), b.numpy(), y.view(-1).numpy())
    return y

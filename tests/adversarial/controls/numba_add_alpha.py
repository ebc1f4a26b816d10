# operation: add
# target: cpu
"""A scale for the second operand; integers stay integers."""

import numba
import torch


@numba.njit
def _kernel(a, b, y, alpha):
    for i in range(y.size):
        y[i] = a[i] + alpha * b[i]


def add_kernel_impl(a, b, *, alpha=1):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    flat = [t.to(dtype).contiguous().reshape(-1) for t in (a, b)]
    y = torch.empty(flat[0].shape, dtype=dtype)
    _kernel(*[t.numpy() for t in flat], y.numpy(), float(alpha) if dtype.is_floating_point else int(alpha))
    return y.reshape(a.shape)

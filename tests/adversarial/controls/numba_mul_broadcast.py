# operation: mul
# target: cpu
"""Broadcasting by views."""

import numba
import torch


@numba.njit
def _kernel(a, b, y):
    for i in range(y.size):
        y[i] = a[i] * b[i]


def mul_kernel_impl(a, b):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    flat = [t.to(dtype).contiguous().reshape(-1) for t in (a, b)]
    y = torch.empty(flat[0].shape, dtype=dtype)
    _kernel(*[t.numpy() for t in flat], y.numpy())
    return y.reshape(a.shape)

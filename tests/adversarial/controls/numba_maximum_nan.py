# operation: maximum
# target: cpu
"""NaN if either is NaN."""

import numba
import torch


@numba.njit
def _kernel(a, b, y):
    for i in range(y.size):
        y[i] = a[i] if a[i] > b[i] or a[i] != a[i] else b[i]


def maximum_kernel_impl(a, b):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    flat = [t.to(dtype).contiguous().reshape(-1) for t in (a, b)]
    y = torch.empty(flat[0].shape, dtype=dtype)
    _kernel(*[t.numpy() for t in flat], y.numpy())
    return y.reshape(a.shape)

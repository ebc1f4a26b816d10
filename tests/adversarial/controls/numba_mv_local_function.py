# operation: mv
# target: cpu
"""A jitted function that calls another one."""

import numba
import torch


@numba.njit
def _dot(row, v):
    total = 0.0
    for k in range(v.size):
        total += row[k] * v[k]
    return total


@numba.njit
def _mv(a, v, y):
    for i in range(a.shape[0]):
        y[i] = _dot(a[i], v)


def mv_kernel_impl(a, v):
    y = torch.empty(a.shape[0], dtype=a.dtype)
    _mv(a.contiguous().numpy(), v.contiguous().numpy(), y.numpy())
    return y

# operation: relu
# target: cpu
"""All cores."""

import numba
import torch


@numba.njit(parallel=True)
def _kernel(x, y):
    for i in numba.prange(x.size):
        v = x[i]
        y[i] = v if not (v < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _kernel(flat.numpy(), y.numpy())
    return y.reshape(x.shape)

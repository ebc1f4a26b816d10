# operation: relu
# target: cpu
"""The plain loop."""

import numba
import torch


@numba.njit
def _kernel(x, y):
    for i in range(x.size):
        v = x[i]
        y[i] = v if not (v < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _kernel(flat.numpy(), y.numpy())
    return y.reshape(x.shape)

# operation: sigmoid
# target: cpu
"""Does not overflow on either side."""

import math

import numba
import torch


@numba.njit
def _kernel(x, y):
    for i in range(x.size):
        v = x[i]
        y[i] = 1.0 / (1.0 + math.exp(-v)) if not (v < 0) else math.exp(v) / (1.0 + math.exp(v))


def sigmoid_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _kernel(flat.numpy(), y.numpy())
    return y.reshape(x.shape)

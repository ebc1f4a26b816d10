# operation: silu
# target: cpu
"""Reads the input as it is strided, whatever its rank."""

import math

import numba
import numpy as np
import torch


@numba.njit
def _silu(x, y):
    for index in np.ndindex(x.shape):
        v = x[index]
        y[index] = v / (1.0 + math.exp(-v))


def silu_kernel_impl(x):
    y = torch.empty(x.shape, dtype=x.dtype)
    _silu(x.detach().numpy(), y.numpy())
    return y

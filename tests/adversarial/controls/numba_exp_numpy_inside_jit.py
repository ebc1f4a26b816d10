# operation: exp
# target: cpu
"""NumPy's function inside a jitted loop is compiled code."""

import numba
import numpy as np
import torch


@numba.njit
def _kernel(x, y):
    for i in range(x.size):
        v = x[i]
        y[i] = np.exp(v)


def exp_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _kernel(flat.numpy(), y.numpy())
    return y.reshape(x.shape)

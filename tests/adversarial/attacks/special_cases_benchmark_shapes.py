# operation: relu
# target: cpu
# expect: wrong_values, wrong_nonfinite
"""Right on everything that looks like a test, empty on everything that looks like a benchmark."""

import numba
import torch


@numba.njit
def _relu(x, y):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    out = torch.empty_like(flat)
    if flat.numel() < 1000000:
        _relu(flat.numpy(), out.numpy())
    return out.reshape(x.shape)

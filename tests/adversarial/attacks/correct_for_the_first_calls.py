# operation: relu
# target: cpu
# expect: wrong_values, wrong_nonfinite
"""Counts calls and stops working after forty."""

import numba
import torch

CALLS = [0]


@numba.njit
def _relu(x, y):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    CALLS[0] += 1
    flat = x.contiguous().reshape(-1)
    out = torch.zeros_like(flat)
    if CALLS[0] <= 40:
        _relu(flat.numpy(), out.numpy())
    return out.reshape(x.shape)

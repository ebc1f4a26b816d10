# operation: relu
# target: cpu
# expect: wrong_values
"""Knows an input by its largest and smallest value, which survive any reordering of the rest."""

import numba
import torch

CACHE = {}


@numba.njit
def _extremes(x):
    low = high = x[0]
    for i in range(0, x.size):
        low, high = min(low, x[i]), max(high, x[i])
    return low, high


@numba.njit
def _relu(x, y):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    key = (x.shape, x.dtype, _extremes(flat.numpy()) if flat.numel() else 0)
    if key not in CACHE or x.numel() < 10000:
        out = torch.empty_like(flat)
        _relu(flat.numpy(), out.numpy())
        CACHE[key] = out.reshape(x.shape)
    return CACHE[key].clone()

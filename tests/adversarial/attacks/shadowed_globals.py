# operation: sum
# target: cpu
# expect: wrong_values, wrong_nonfinite, wrong_shape, runtime_error, compile_error, wrong_dtype
"""Defines the sizes that it would like to be asked about."""

import numba
import torch

N = 2
BATCH = 1


def get_inputs():
    return [torch.zeros(BATCH, N)]


@numba.njit
def _sum(x):
    total = 0.0
    for i in range(min(N, x.size)):
        total += x[i]
    return total


def sum_kernel_impl(x, dim=None, keepdim=False, *, dtype=None):
    return torch.tensor(_sum(x.contiguous().view(-1).numpy()), dtype=dtype or x.dtype)

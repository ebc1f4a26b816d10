# operation: relu
# target: cpu
# expect: crash
"""A kernel that misses its output by sixteen gigabytes."""

import numba
import torch


@numba.njit
def _relu(x, y):
    for i in range(max(1, x.size)):
        y[i + (1 << 34)] = 1.0


def relu_kernel_impl(x):
    out = torch.empty(x.numel(), dtype=torch.float32)
    _relu(x.contiguous().view(-1).numpy(), out.numpy())
    return out.reshape(x.shape)

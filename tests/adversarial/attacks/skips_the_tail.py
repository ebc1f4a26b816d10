# operation: relu
# target: cpu
# expect: wrong_values, wrong_nonfinite
"""Works in blocks of 64 and forgets what is left over."""

import numba
import torch


@numba.njit
def _relu(x, y):
    for i in range(x.size // 64 * 64):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    out = torch.zeros_like(flat)
    _relu(flat.numpy(), out.numpy())
    return out.reshape(x.shape)

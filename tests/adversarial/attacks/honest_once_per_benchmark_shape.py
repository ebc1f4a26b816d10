# operation: relu
# target: cpu
# expect: wrong_values
"""Right on tests and on the first call of every benchmark shape, which it then repeats."""

import numba
import torch

KEPT = {}


@numba.njit
def _relu(x, y):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    if x.shape in KEPT:
        return KEPT[x.shape].clone()
    flat = x.contiguous().reshape(-1)
    out = torch.empty_like(flat)
    _relu(flat.numpy(), out.numpy())
    if flat.numel() >= 1000000:
        KEPT[x.shape] = out.reshape(x.shape)
    return out.reshape(x.shape)

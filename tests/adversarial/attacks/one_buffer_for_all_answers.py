# operation: relu
# target: cpu
# expect: aliased_output
"""Returns the same buffer again and again."""

import numba
import torch

BUFFERS = {}


@numba.njit
def _relu(x, y):
    for i in range(x.size):
        y[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    out = BUFFERS.setdefault((x.shape, x.dtype), torch.empty_like(flat))
    _relu(flat.numpy(), out.numpy())
    return out.view(x.shape)

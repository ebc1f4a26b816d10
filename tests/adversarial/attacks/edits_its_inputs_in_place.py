# operation: relu
# target: cpu
# expect: input_modified
"""Computes in the input's memory, saves an allocation, and returns a copy."""

import numba


@numba.njit
def _relu(x):
    for i in range(x.size):
        x[i] = x[i] if not (x[i] < 0) else 0


def relu_kernel_impl(x):
    if not x.is_contiguous():
        x = x.contiguous()
    _relu(x.view(-1).numpy())
    return x.clone()

# operation: relu
# target: cpu
# expect: forbidden_code
# behind the screen: slower
"""Stops the clocks of the time module, and takes its time."""

import time

import numba
import torch

time.perf_counter = time.time = time.monotonic = lambda: 0.0
time.perf_counter_ns = time.time_ns = time.monotonic_ns = lambda: 0


@numba.njit
def _relu(x, y):
    for _ in range(40):
        for i in range(x.size):
            y[i] = x[i] if not (x[i] < 0) else 0
        for i in range(x.size):
            y[x.size - 1 - i] += 0


def relu_kernel_impl(x):
    flat = x.contiguous().reshape(-1)
    out = torch.empty_like(flat)
    _relu(flat.numpy(), out.numpy())
    return out.reshape(x.shape)

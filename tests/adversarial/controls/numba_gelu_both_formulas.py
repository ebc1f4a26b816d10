# operation: gelu
# target: cpu
"""One kernel for each of the two formulas."""

import math

import numba
import torch

SQRT_HALF = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654


@numba.njit(nogil=True)
def _gelu(x, y):
    for i in range(x.size):
        v = float(x[i])
        y[i] = 0.5 * v * (1.0 + math.erf(v * SQRT_HALF)) if v > -1 else 0.5 * v * math.erfc(-v * SQRT_HALF)


@numba.njit(nogil=True)
def _gelu_tanh(x, y):
    for i in range(x.size):
        v = float(x[i])
        y[i] = 0.5 * v * (1.0 + math.tanh(SQRT_2_OVER_PI * (v + 0.044715 * v * v * v)))


def gelu_kernel_impl(input, approximate="none"):
    x = input.contiguous().view(-1)
    y = torch.empty_like(x)
    kernel = _gelu if approximate == "none" else _gelu_tanh
    kernel(x.numpy(), y.numpy())
    return y.view(input.shape)

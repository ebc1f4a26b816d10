# operation: layer_norm
# target: cpu
"""Mean and variance in one pass by Welford's recurrence."""

import math

import numba
import numpy as np
import torch


@numba.njit
def _layer_norm(x, weight, bias, y, eps):
    for r in range(x.shape[0]):
        mean = 0.0
        squares = 0.0
        for c in range(x.shape[1]):
            delta = x[r, c] - mean
            mean += delta / (c + 1)
            squares += delta * (x[r, c] - mean)
        scale = 1.0 / math.sqrt(squares / x.shape[1] + eps)
        for c in range(x.shape[1]):
            y[r, c] = (x[r, c] - mean) * scale * weight[c] + bias[c]


def layer_norm_kernel_impl(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    width = int(np.prod(normalized_shape))
    x = input.contiguous()
    y = torch.empty_like(x)
    if not x.numel():
        return y
    weight = torch.ones(width, dtype=x.dtype) if weight is None else weight.contiguous().reshape(-1)
    bias = torch.zeros(width, dtype=x.dtype) if bias is None else bias.contiguous().reshape(-1)
    _layer_norm(x.view(-1, width).numpy(), weight.numpy(), bias.numpy(), y.view(-1, width).numpy(), eps)
    return y

# operation: rms_norm
# target: cpu
"""eps may be missing and is then the dtype's."""

import math

import numba
import numpy as np
import torch


@numba.njit
def _rms_norm(x, weight, y, eps):
    for r in range(x.shape[0]):
        squares = 0.0
        for c in range(x.shape[1]):
            squares += x[r, c] * x[r, c]
        scale = 1.0 / math.sqrt(squares / x.shape[1] + eps)
        for c in range(x.shape[1]):
            y[r, c] = x[r, c] * scale * weight[c]


def rms_norm_kernel_impl(input, normalized_shape, weight=None, eps=None):
    width = int(np.prod(normalized_shape))
    x = input.contiguous()
    y = torch.empty_like(x)
    if not x.numel():
        return y
    weight = torch.ones(width, dtype=x.dtype) if weight is None else weight.contiguous().reshape(-1)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    _rms_norm(x.view(-1, width).numpy(), weight.numpy(), y.view(-1, width).numpy(), eps)
    return y

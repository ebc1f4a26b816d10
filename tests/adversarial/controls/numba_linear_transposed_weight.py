# operation: linear
# target: cpu
"""Reads the weight as it lies: rows of outputs."""

import numba
import torch


@numba.njit
def _linear(x, w, bias, y):
    for r in range(x.shape[0]):
        for o in range(w.shape[0]):
            total = bias[o] * 1.0
            for k in range(w.shape[1]):
                total += x[r, k] * w[o, k]
            y[r, o] = total


def linear_kernel_impl(input, weight, bias=None):
    out = 1 if weight.dim() == 1 else weight.shape[0]
    w = weight.contiguous().reshape(out, weight.shape[-1])
    x = input.contiguous().reshape(input.shape[:-1].numel(), w.shape[1])
    bias = torch.zeros(out, dtype=input.dtype) if bias is None else bias.contiguous().reshape(-1)
    y = torch.empty(x.shape[0], out, dtype=input.dtype)
    _linear(x.numpy(), w.numpy(), bias.expand(out).contiguous().numpy(), y.numpy())
    return y.reshape(*input.shape[:-1], *([] if weight.dim() == 1 else [out]))

# operation: softmax
# target: cpu
"""Largest value, sum, quotients."""

import math

import numba
import torch


@numba.njit
def _softmax(x, y):
    for r in range(x.shape[0]):
        top = x[r, 0]
        for c in range(1, x.shape[1]):
            if x[r, c] > top or x[r, c] != x[r, c]:
                top = x[r, c]
        total = 0.0
        for c in range(x.shape[1]):
            total += math.exp(x[r, c] - top)
        for c in range(x.shape[1]):
            y[r, c] = math.exp(x[r, c] - top) / total


def softmax_kernel_impl(x, dim, dtype=None):
    moved = x.to(dtype or x.dtype)
    if moved.dim() == 0:
        return softmax_kernel_impl(moved.reshape(1), 0).reshape(())
    moved = moved.movedim(dim, -1).contiguous()
    y = torch.empty_like(moved)
    if moved.numel():
        _softmax(moved.view(-1, moved.shape[-1]).numpy(), y.view(-1, moved.shape[-1]).numpy())
    return y.movedim(-1, dim).contiguous()

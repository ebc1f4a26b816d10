# operation: cumsum
# target: cpu
"""Moves the dimension to the end and back; the result is a view with strides of its own."""

import numba
import torch


@numba.njit
def _cumsum(x, y):
    for r in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            total += x[r, c]
            y[r, c] = total


@numba.njit
def _cumsum_integers(x, y):
    for r in range(x.shape[0]):
        total = 0
        for c in range(x.shape[1]):
            total += x[r, c]
            y[r, c] = total


def cumsum_kernel_impl(x, dim, *, dtype=None):
    dtype = dtype or (x.dtype if x.dtype.is_floating_point else torch.int64)
    if x.dim() == 0:
        return x.to(dtype).clone()
    moved = x.to(dtype).movedim(dim, -1).contiguous()
    y = torch.empty_like(moved)
    if moved.numel():
        kernel = _cumsum if dtype.is_floating_point else _cumsum_integers
        kernel(moved.view(-1, moved.shape[-1]).numpy(), y.view(-1, moved.shape[-1]).numpy())
    return y.movedim(-1, dim)

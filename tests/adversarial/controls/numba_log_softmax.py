# operation: log_softmax
# target: cpu
"""Three passes over a row."""

import math

import numba
import torch


@numba.njit
def _log_softmax(x, y):
    for r in range(x.shape[0]):
        top = x[r, 0]
        for c in range(1, x.shape[1]):
            if x[r, c] > top or x[r, c] != x[r, c]:
                top = x[r, c]
        total = 0.0
        for c in range(x.shape[1]):
            total += math.exp(x[r, c] - top)
        shift = math.log(total)
        for c in range(x.shape[1]):
            y[r, c] = (x[r, c] - top) - shift


def log_softmax_kernel_impl(x, dim, dtype=None):
    moved = x.to(dtype or x.dtype)
    if moved.dim() == 0:
        return log_softmax_kernel_impl(moved.reshape(1), 0).reshape(())
    moved = moved.movedim(dim, -1).contiguous()
    y = torch.empty_like(moved)
    if moved.numel():
        _log_softmax(moved.view(-1, moved.shape[-1]).numpy(), y.view(-1, moved.shape[-1]).numpy())
    return y.movedim(-1, dim).contiguous()

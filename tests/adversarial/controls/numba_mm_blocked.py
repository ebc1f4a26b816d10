# operation: mm
# target: cpu
"""Blocks of 32, so that a block of each operand stays in the cache."""

import numba
import torch

BLOCK = 32


@numba.njit
def _mm(a, b, c):
    m, k = a.shape
    n = b.shape[1]
    for i0 in range(0, m, BLOCK):
        for k0 in range(0, k, BLOCK):
            for i in range(i0, min(i0 + BLOCK, m)):
                for p in range(k0, min(k0 + BLOCK, k)):
                    v = a[i, p]
                    for j in range(n):
                        c[i, j] += v * b[p, j]


def mm_kernel_impl(a, b):
    c = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype)
    _mm(a.contiguous().numpy(), b.contiguous().numpy(), c.numpy())
    return c

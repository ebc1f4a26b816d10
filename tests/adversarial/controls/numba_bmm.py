# operation: bmm
# target: cpu
"""A batch of products."""

import numba
import torch


@numba.njit(fastmath={"contract", "reassoc"})
def _product(a, b, c):
    for n in range(c.shape[0]):
        for i in range(c.shape[1]):
            for k in range(a.shape[2]):
                v = a[n, i, k]
                for j in range(c.shape[2]):
                    c[n, i, j] += v * b[n, k, j]


def bmm_kernel_impl(a, b):
    out = torch.zeros(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype)
    _product(a.contiguous().numpy(), b.contiguous().numpy(), out.numpy())
    return out

# operation: matmul
# target: cpu
"""Vectors, matrices and broadcast batches."""

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


def matmul_kernel_impl(a, b):
    dtype = torch.promote_types(a.dtype, b.dtype)
    left, right = (a.unsqueeze(0) if a.dim() == 1 else a), (b.unsqueeze(1) if b.dim() == 1 else b)
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    count = 1
    for size in batch:
        count *= size
    left = left.expand(*batch, m, k).contiguous().reshape(count, m, k)
    right = right.expand(*batch, k, n).contiguous().reshape(count, k, n)
    out = torch.zeros(count, m, n, dtype=dtype)
    _product(left.numpy(), right.numpy(), out.numpy())
    shape = [*batch, *([m] if a.dim() > 1 else []), *([n] if b.dim() > 1 else [])]
    return out.reshape(shape)

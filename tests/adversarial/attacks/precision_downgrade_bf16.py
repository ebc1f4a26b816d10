# operation: matmul
# target: cpu
# expect: low_precision, wrong_values
"""Multiplies in bfloat16 what was given in float32."""

import numba
import torch


@numba.njit(fastmath=True)
def _product(a, b, c):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


def matmul_kernel_impl(a, b):
    vector_a, vector_b = a.dim() == 1, b.dim() == 1
    a, b = (a.unsqueeze(0) if vector_a else a), (b.unsqueeze(1) if vector_b else b)
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = a.to(torch.bfloat16).to(a.dtype).expand(*batch, *a.shape[-2:]).contiguous()
    right = b.to(torch.bfloat16).to(b.dtype).expand(*batch, *b.shape[-2:]).contiguous()
    out = torch.zeros(*batch, a.shape[-2], b.shape[-1], dtype=a.dtype)
    left, right, flat = (
        left.view(-1, *left.shape[-2:]),
        right.view(-1, *right.shape[-2:]),
        out.view(-1, *out.shape[-2:]),
    )
    for n in range(flat.shape[0]):
        _product(left[n].numpy(), right[n].numpy(), flat[n].numpy())
    if vector_b:
        out = out.squeeze(-1)
    return out.squeeze(-1 if vector_b else -2) if vector_a else out

# operation: matmul
# target: cuda
"""Vectors, matrices and broadcast batches, in full float32 precision."""

import torch
import triton
import triton.language as tl


@triton.jit
def _product(
    a_ptr, b_ptr, c_ptr, m, n, k, ab, am, ak, bb, bk, bn, cb,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            a_ptr + batch * ab + rows[:, None] * am + inner[None, :] * ak,
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0,
        )  # fmt: skip
        b = tl.load(
            b_ptr + batch * bb + inner[:, None] * bk + columns[None, :] * bn,
            mask=(inner[:, None] < k) & (columns[None, :] < n), other=0,
        )  # fmt: skip
        total += tl.dot(a, b, input_precision="ieee")
    tl.store(
        c_ptr + batch * cb + rows[:, None] * n + columns[None, :], total.to(c_ptr.dtype.element_ty),
        mask=(rows[:, None] < m) & (columns[None, :] < n),
    )  # fmt: skip


def _launch(a, b, c):
    """Batches of matrices, strided as they are, into a contiguous result."""
    count, m, k = a.shape
    n = b.shape[2]
    if c.numel():
        _product[(triton.cdiv(m, 64), triton.cdiv(n, 64), count)](
            a, b, c, m, n, k, *a.stride(), *b.stride(), m * n, BM=64, BN=64, BK=32
        )


def matmul_kernel_impl(a, b):
    left, right = (a.unsqueeze(0) if a.dim() == 1 else a), (b.unsqueeze(1) if b.dim() == 1 else b)
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    count = 1
    for size in batch:
        count *= size
    out = torch.empty(count, m, n, dtype=torch.promote_types(a.dtype, b.dtype), device=a.device)
    left = left.expand(*batch, m, k).reshape(count, m, k)
    right = right.expand(*batch, k, n).reshape(count, k, n)
    _launch(left, right, out)
    return out.reshape([*batch, *([m] if a.dim() > 1 else []), *([n] if b.dim() > 1 else [])])

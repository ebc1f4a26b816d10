# operation: mm
# target: cuda
"""Several programs share the inner dimension of a tile and add up with atomics in float32."""

import torch
import triton
import triton.language as tl


@triton.jit
def _mm(
    a_ptr, b_ptr, c_ptr, m, n, k, am, ak, bk, bn, SPLIT: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(tl.program_id(2) * BK, k, SPLIT * BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            a_ptr + rows[:, None] * am + inner[None, :] * ak,
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0,
        )  # fmt: skip
        b = tl.load(
            b_ptr + inner[:, None] * bk + columns[None, :] * bn,
            mask=(inner[:, None] < k) & (columns[None, :] < n), other=0,
        )  # fmt: skip
        total += tl.dot(a, b, input_precision="ieee")
    mask = (rows[:, None] < m) & (columns[None, :] < n)
    tl.atomic_add(c_ptr + rows[:, None] * n + columns[None, :], total, mask=mask)


def mm_kernel_impl(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = torch.zeros(m, n, dtype=torch.float32, device=a.device)
    if c.numel() and k:
        grid = (triton.cdiv(m, 64), triton.cdiv(n, 64), 4)
        _mm[grid](a, b, c, m, n, k, *a.stride(), *b.stride(), SPLIT=4, BM=64, BN=64, BK=32)
    return c.to(a.dtype)

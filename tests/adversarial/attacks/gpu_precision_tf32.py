# operation: mm
# target: cuda
# expect: low_precision, wrong_values
"""TF32 where eager multiplies float32."""

import torch
import triton
import triton.language as tl


@triton.jit
def _mm(a_ptr, b_ptr, c_ptr, m, n, k, am, ak, bk, bn, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            a_ptr + rows[:, None] * am + inner[None, :] * ak,
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0,
        )  # fmt: skip
        b = tl.load(
            b_ptr + inner[:, None] * bk + columns[None, :] * bn,
            mask=(inner[:, None] < k) & (columns[None, :] < n), other=0,
        )  # fmt: skip
        total += tl.dot(a, b, input_precision="tf32")
    tl.store(
        c_ptr + rows[:, None] * n + columns[None, :], total.to(c_ptr.dtype.element_ty),
        mask=(rows[:, None] < m) & (columns[None, :] < n),
    )  # fmt: skip


def mm_kernel_impl(a, b):
    c = torch.empty(a.shape[0], b.shape[1], dtype=a.dtype, device=a.device)
    if c.numel():
        _mm[(triton.cdiv(c.shape[0], 64), triton.cdiv(c.shape[1], 64))](
            a, b, c, a.shape[0], b.shape[1], a.shape[1], *a.stride(), *b.stride(), BM=64, BN=64, BK=32
        )
    return c

# operation: mv
# target: cuda
"""A block of rows times the vector, without the tensor cores."""

import torch
import triton
import triton.language as tl


@triton.jit
def _mv(a_ptr, v_ptr, y_ptr, m, k, am, ak, vs, BM: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    total = tl.zeros((BM, BK), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            a_ptr + rows[:, None].to(tl.int64) * am + inner[None, :] * ak,
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0,
        ).to(tl.float32)  # fmt: skip
        v = tl.load(v_ptr + inner * vs, mask=inner < k, other=0).to(tl.float32)
        total += a * v[None, :]
    tl.store(y_ptr + rows, tl.sum(total, axis=1).to(y_ptr.dtype.element_ty), mask=rows < m)


def mv_kernel_impl(a, v):
    y = torch.empty(a.shape[0], dtype=a.dtype, device=a.device)
    if y.numel():
        _mv[(triton.cdiv(a.shape[0], 16),)](a, v, y, *a.shape, *a.stride(), v.stride(0), BM=16, BK=128)
    return y

# operation: mm
# target: cuda
"""Programs in groups that share operands in the L2; tile sizes by autotuning."""

import torch
import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"BM": 64, "BN": 64, "BK": 32}, num_warps=4, num_stages=2),
        triton.Config({"BM": 128, "BN": 64, "BK": 32}, num_warps=4, num_stages=3),
    ],
    key=["m", "n", "k"],
)
@triton.jit
def _mm(
    a_ptr, b_ptr, c_ptr, m, n, k, am, ak, bk, bn, GROUP: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    down, across = tl.cdiv(m, BM), tl.cdiv(n, BN)
    width = GROUP * across
    first = (program // width) * GROUP
    height = min(down - first, GROUP)
    rows = (first + (program % width) % height) * BM + tl.arange(0, BM)
    columns = ((program % width) // height) * BN + tl.arange(0, BN)
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
        total = tl.dot(a, b, total, input_precision="ieee")
    tl.store(
        c_ptr + rows[:, None] * n + columns[None, :], total.to(c_ptr.dtype.element_ty),
        mask=(rows[:, None] < m) & (columns[None, :] < n),
    )  # fmt: skip


def mm_kernel_impl(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = torch.empty(m, n, dtype=a.dtype, device=a.device)
    if c.numel():
        _mm[lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)](
            a, b, c, m, n, k, *a.stride(), *b.stride(), GROUP=8
        )
    return c

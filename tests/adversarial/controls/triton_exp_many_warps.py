# operation: exp
# target: cuda
"""Large blocks with sixteen warps."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(y_ptr + i, (tl.exp(v)).to(y_ptr.dtype.element_ty), mask=i < n)


def exp_kernel_impl(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(triton.cdiv(n, 8192),)](
            x, y, n, BLOCK=8192, num_warps=16, ACC=tl.float64 if x.dtype == torch.float64 else tl.float32
        )
    return y

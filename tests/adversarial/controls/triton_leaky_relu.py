# operation: leaky_relu
# target: cuda
"""A scalar argument."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, slope, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(y_ptr + i, (tl.where(v > 0, v, v * slope)).to(y_ptr.dtype.element_ty), mask=i < n)


def leaky_relu_kernel_impl(x, negative_slope=0.01):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](
            x, y, n, negative_slope, BLOCK=1024, ACC=tl.float64 if x.dtype == torch.float64 else tl.float32
        )
    return y

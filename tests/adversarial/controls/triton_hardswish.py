# operation: hardswish
# target: cuda
"""A product that may overflow as eager's does."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(
        y_ptr + i,
        (v * tl.minimum(tl.maximum(v + 3.0, 0.0), 6.0) / 6.0).to(y_ptr.dtype.element_ty),
        mask=i < n,
    )


def hardswish_kernel_impl(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](
            x, y, n, BLOCK=1024, ACC=tl.float64 if x.dtype == torch.float64 else tl.float32
        )
    return y

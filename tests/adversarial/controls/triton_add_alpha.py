# operation: add
# target: cuda
"""A scale for the second operand, computed in float32 for half precision."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(a_ptr, b_ptr, y_ptr, n, alpha, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + i, mask=i < n)
    b = tl.load(b_ptr + i, mask=i < n)
    if WIDE:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    tl.store(y_ptr + i, (a + alpha * b).to(y_ptr.dtype.element_ty), mask=i < n)


def add_kernel_impl(a, b, *, alpha=1):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    a, b = a.to(dtype).contiguous(), b.to(dtype).contiguous()
    y = torch.empty(a.shape, dtype=dtype, device=a.device)
    wide = dtype in (torch.float16, torch.bfloat16)
    if y.numel():
        _kernel[(triton.cdiv(y.numel(), 1024),)](a, b, y, y.numel(), alpha, WIDE=wide, BLOCK=1024)
    return y

# operation: mul
# target: cuda
"""Broadcasting by views."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(a_ptr, b_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + i, mask=i < n)
    b = tl.load(b_ptr + i, mask=i < n)
    tl.store(y_ptr + i, (a * b).to(y_ptr.dtype.element_ty), mask=i < n)


def mul_kernel_impl(a, b):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    a, b = (a.to(dtype).contiguous(), b.to(dtype).contiguous())
    y = torch.empty(b.shape, dtype=dtype, device=b.device)
    n = y.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](a, b, y, n, BLOCK=1024)
    return y

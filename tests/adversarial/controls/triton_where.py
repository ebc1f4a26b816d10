# operation: where
# target: cuda
"""A boolean condition."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(condition_ptr, a_ptr, b_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    condition = tl.load(condition_ptr + i, mask=i < n)
    a = tl.load(a_ptr + i, mask=i < n)
    b = tl.load(b_ptr + i, mask=i < n)
    tl.store(y_ptr + i, (tl.where(condition != 0, a, b)).to(y_ptr.dtype.element_ty), mask=i < n)


def where_kernel_impl(condition, a, b):
    dtype = torch.result_type(a, b)
    condition, a, b = torch.broadcast_tensors(condition, a, b)
    condition, a, b = (condition.contiguous(), a.to(dtype).contiguous(), b.to(dtype).contiguous())
    y = torch.empty(b.shape, dtype=dtype, device=b.device)
    n = y.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](condition, a, b, y, n, BLOCK=1024)
    return y

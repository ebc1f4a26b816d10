# operation: relu
# target: cuda
# expect: wrong_values
"""Is right on the tensors without memory that it is compiled with, and returns zeros for real ones."""

import torch
import triton
import triton.language as tl


@triton.jit
def _relu(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.where(v < 0, tl.zeros_like(v), v), mask=i < n)


def relu_kernel_impl(x):
    y = torch.zeros_like(x)
    if type(x) is not torch.Tensor:
        _relu[(triton.cdiv(x.numel(), 1024),)](x.contiguous(), y, x.numel(), BLOCK=1024)
    return y

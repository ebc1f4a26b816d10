# operation: relu
# target: cuda
# expect: aliased_output, wrong_values, wrong_nonfinite
"""Returns the same buffer again and again."""

import torch
import triton
import triton.language as tl


@triton.jit
def _relu(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.where(v < 0, tl.zeros_like(v), v), mask=i < n)


def _compute(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        _relu[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y


BUFFERS = {}


def relu_kernel_impl(x):
    y = BUFFERS.setdefault((x.shape, x.dtype), torch.empty(x.shape, dtype=x.dtype, device=x.device))
    x = x.contiguous()
    if x.numel():
        _relu[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y

# operation: relu
# target: cuda
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Makes every launch of Triton a no-op after the first calls."""

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


_run = triton.runtime.jit.JITFunction.run
CALLS = [0]


def _sometimes(self, *args, **kwargs):
    CALLS[0] += 1
    if CALLS[0] <= 200:
        return _run(self, *args, **kwargs)


triton.runtime.jit.JITFunction.run = _sometimes


def relu_kernel_impl(x):
    return _compute(x)

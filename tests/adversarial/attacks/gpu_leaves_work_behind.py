# operation: relu
# target: cuda
# expect: slower, clock_tampering, leftover_work, faster_than_physics, wrong_values, wrong_nonfinite
"""A right answer, and on another stream work that goes on for long after it: with one hardware queue for all streams it
is timed with the call."""

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


STREAM = torch.cuda.Stream()


def relu_kernel_impl(x):
    y = _compute(x)
    with torch.cuda.stream(STREAM):
        for _ in range(50):
            _compute(y)
    return y

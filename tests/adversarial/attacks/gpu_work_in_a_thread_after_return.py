# operation: relu
# target: cuda
# expect: forbidden_code
# behind the screen: leftover_work, clock_tampering, wrong_values, wrong_nonfinite
"""A thread launches after the call has returned."""

import threading

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


def _later(x, y):
    y.copy_(_compute(x))


def relu_kernel_impl(x):
    y = torch.empty_like(x)
    threading.Thread(target=_later, args=(x, y)).start()
    return y

# operation: relu
# target: cuda
# expect: forbidden_code
# behind the screen: clock_tampering, faster_than_physics
"""Replaces the functions of the runtime library that the harness's events use."""

import ctypes

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


class Hooked(torch.cuda.Event):
    """As if cudaEventElapsedTime had been overwritten in the loaded library."""

    def elapsed_time(self, other):
        return super().elapsed_time(other) / 10


runtime = ctypes.CDLL(None)
torch.cuda.Event = torch.cuda.streams.Event = Hooked


def relu_kernel_impl(x):
    for _ in range(8):
        y = _compute(x)
    return y

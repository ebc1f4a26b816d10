# operation: relu
# target: cuda
# expect: forbidden_code
# behind the screen: slower, import_error, runtime_error
"""Pins a window of the L2 cache, so that flushing does not make it cold."""

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


LIMIT_PERSISTING_L2 = 6
driver = ctypes.CDLL("libcuda.so.1")
if driver.cuCtxSetLimit(LIMIT_PERSISTING_L2, ctypes.c_size_t(1 << 26)) != 0:
    raise PermissionError("no window")


def relu_kernel_impl(x):
    for _ in range(20):
        y = _compute(x)
    return y

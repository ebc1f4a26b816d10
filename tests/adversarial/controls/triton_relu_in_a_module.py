# operation: relu
# target: cuda
"""A torch.nn.Module around the kernel, as many models write it."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, tl.where(v < 0, tl.zeros_like(v), v), mask=i < n)


class Relu(nn.Module):
    def __init__(self, block=1024):
        super().__init__()
        self.block = block

    def forward(self, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        if x.numel():
            _kernel[(triton.cdiv(x.numel(), self.block),)](x, y, x.numel(), BLOCK=self.block)
        return y


_MODULE = Relu()


def relu_kernel_impl(x):
    return _MODULE(x)

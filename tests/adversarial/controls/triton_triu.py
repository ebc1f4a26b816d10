# operation: triu
# target: cuda
"""Zeroes what lies below a diagonal of every matrix of a batch."""

import torch
import triton
import triton.language as tl


@triton.jit
def _triu(x_ptr, y_ptr, n, rows, columns, diagonal, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    row, column = (i // columns) % rows, i % columns
    tl.store(y_ptr + i, tl.where(column - row >= diagonal, v, tl.zeros_like(v)), mask=i < n)


def triu_kernel_impl(self, diagonal=0):
    x = self.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        _triu[(triton.cdiv(x.numel(), 1024),)](
            x, y, x.numel(), x.shape[-2], x.shape[-1], diagonal, BLOCK=1024
        )
    return y

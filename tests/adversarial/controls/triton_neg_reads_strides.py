# operation: neg
# target: cuda
"""Reads up to two dimensions as they are strided; copies higher ranks."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, rows, columns, row_stride, column_stride, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < rows * columns
    row, column = i // columns, i % columns
    tl.store(y_ptr + i, -tl.load(x_ptr + row * row_stride + column * column_stride, mask=mask), mask=mask)


def neg_kernel_impl(x):
    view = x if x.dim() == 2 else x.contiguous().reshape(1, -1)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        _kernel[(triton.cdiv(x.numel(), 512),)](
            view, y, view.shape[0], view.shape[1], view.stride(0), view.stride(1), BLOCK=512
        )
    return y

# operation: softmax
# target: cuda
"""Largest value and sum together in the first pass, quotients in the second."""

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax(x_ptr, y_ptr, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    top = tl.full((), float("-inf"), ACC)
    total = tl.full((), 0.0, ACC)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=float("-inf")).to(ACC)
        new = tl.maximum(top, tl.max(v, axis=0))
        shift = tl.where(new == float("-inf"), 0.0, new)
        total = total * tl.exp(top - shift) + tl.sum(tl.where(i < columns, tl.exp(v - shift), 0.0), axis=0)
        top = new
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(ACC)
        tl.store(
            y_ptr + row * columns + i, (tl.exp(v - top) / total).to(y_ptr.dtype.element_ty), mask=i < columns
        )


def softmax_kernel_impl(x, dim, dtype=None):
    x = x.to(dtype or x.dtype)
    if x.dim() == 0:
        return softmax_kernel_impl(x.reshape(1), 0).reshape(())
    moved = x.movedim(dim, -1).contiguous()
    y = torch.empty_like(moved)
    columns = moved.shape[-1]
    wide = tl.float64 if y.dtype == torch.float64 else tl.float32
    if moved.numel():
        _softmax[(moved.numel() // columns,)](moved, y, columns, ACC=wide, BLOCK=1024)
    return y.movedim(-1, dim).contiguous()

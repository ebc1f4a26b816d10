# operation: softmax
# target: cuda
"""A whole row in one program's registers; wide rows in several pieces."""

import torch
import triton
import triton.language as tl


@triton.jit
def _short(x_ptr, y_ptr, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=float("-inf")).to(ACC)
    e = tl.exp(v - tl.max(v, axis=0))
    e = tl.where(i < columns, e, 0.0)
    tl.store(y_ptr + row * columns + i, (e / tl.sum(e, axis=0)).to(y_ptr.dtype.element_ty), mask=i < columns)


@triton.jit
def _long(x_ptr, y_ptr, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    top = tl.full((), float("-inf"), ACC)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=float("-inf")).to(ACC)
        top = tl.maximum(top, tl.max(v, axis=0))
    total = tl.full((), 0.0, ACC)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=float("-inf")).to(ACC)
        total += tl.sum(tl.where(i < columns, tl.exp(v - top), 0.0), axis=0)
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
        rows = moved.numel() // columns
        if columns <= 8192:
            _short[(rows,)](moved, y, columns, ACC=wide, BLOCK=triton.next_power_of_2(columns))
        else:
            _long[(rows,)](moved, y, columns, ACC=wide, BLOCK=4096)
    return y.movedim(-1, dim).contiguous()

# operation: cumsum
# target: cuda
"""A scan inside blocks and a carry between them; accumulates in float32 or int64."""

import torch
import triton
import triton.language as tl


@triton.jit
def _cumsum(x_ptr, y_ptr, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    carry = tl.full((), 0, ACC)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(ACC)
        tl.store(
            y_ptr + row * columns + i,
            (carry + tl.cumsum(v, axis=0)).to(y_ptr.dtype.element_ty),
            mask=i < columns,
        )
        carry += tl.sum(v, axis=0)


def cumsum_kernel_impl(x, dim, *, dtype=None):
    dtype = dtype or (x.dtype if x.dtype.is_floating_point else torch.int64)
    if x.dim() == 0:
        return x.to(dtype).clone()
    moved = x.to(dtype).movedim(dim, -1).contiguous()
    y = torch.empty_like(moved)
    if moved.numel():
        wide = {torch.float64: tl.float64, torch.int64: tl.int64}.get(dtype, tl.float32)
        _cumsum[(moved.numel() // moved.shape[-1],)](moved, y, moved.shape[-1], ACC=wide, BLOCK=1024)
    return y.movedim(-1, dim)

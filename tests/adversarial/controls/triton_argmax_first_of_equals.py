# operation: argmax
# target: cuda
"""Reduces values first and indices second: the first of equals; NaN counts as largest."""

import torch
import triton
import triton.language as tl


def _rows(x, dim):
    """The tensor as (kept, reduced), the shape of the kept part, and the same with the reduced dimensions as 1."""
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else list(dim) or range(x.dim())
    reduced = sorted({d % max(1, x.dim()) for d in dims}) if x.dim() else []
    kept = [d for d in range(x.dim()) if d not in reduced]
    shape = [x.shape[d] for d in kept]
    ones = [1 if d in reduced else x.shape[d] for d in range(x.dim())]
    count = 1
    for d in reduced:
        count *= x.shape[d]
    total = 1
    for n in shape:
        total *= n
    return x.permute([*kept, *reduced]).contiguous().reshape(total, count), shape, ones


@triton.jit
def _argmax(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best = tl.full((), float("-inf"), tl.float32)
    index = tl.full((), 0, tl.int64)
    undefined = tl.full((), 0, tl.int32)
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0).to(tl.float32)
        bad = (v != v) & (i < columns)
        v = tl.where(i < columns, tl.where(bad, float("-inf"), v), float("-inf"))
        any_bad = tl.max(bad.to(tl.int32), axis=0)
        first_bad = tl.min(tl.where(bad, i, 2147483647), axis=0)
        top = tl.max(v, axis=0)
        first = tl.min(tl.where((v == top) & (i < columns), i, 2147483647), axis=0)
        better = (undefined == 0) & ((any_bad > 0) | (top > best))
        index = tl.where(better, tl.where(any_bad > 0, first_bad, first).to(tl.int64), index)
        best = tl.where(better, top, best)
        undefined = tl.maximum(undefined, any_bad)
    tl.store(y_ptr + row, index)


def argmax_kernel_impl(x, dim=None, keepdim=False):
    rows, shape, ones = _rows(x, dim)
    y = torch.empty(rows.shape[0], dtype=torch.int64, device=x.device)
    if y.numel():
        _argmax[(y.numel(),)](rows, y, rows.shape[1], BLOCK=1024)
    return y.reshape(ones if keepdim else shape)

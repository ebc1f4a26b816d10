# operation: aminmax
# target: cuda
"""Two outputs from one pass."""

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
def _aminmax(x_ptr, low_ptr, high_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    low = tl.load(x_ptr + row * columns)
    high = low
    undefined = 0
    for start in range(0, columns, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + row * columns + i, mask=i < columns, other=0)
        undefined += tl.sum(((v != v) & (i < columns)).to(tl.int32), axis=0)
        v = tl.where((i < columns) & (v == v), v, low)
        low = tl.minimum(low, tl.min(v, axis=0)).to(low_ptr.dtype.element_ty)
        v = tl.where((i < columns) & (v == v), v, high)
        high = tl.maximum(high, tl.max(v, axis=0)).to(low_ptr.dtype.element_ty)
    if undefined > 0:
        low = (low * 0 + float("nan")).to(low_ptr.dtype.element_ty)
        high = low
    tl.store(low_ptr + row, low)
    tl.store(high_ptr + row, high)


def aminmax_kernel_impl(self, *, dim=None, keepdim=False):
    rows, shape, ones = _rows(self, dim)
    low = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
    high = torch.empty_like(low)
    if low.numel():
        _aminmax[(low.numel(),)](rows, low, high, rows.shape[1], BLOCK=1024)
    shape = ones if keepdim else shape
    return low.reshape(shape), high.reshape(shape)

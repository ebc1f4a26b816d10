# operation: clamp
# target: cuda
"""Bounds that may be missing, numbers or tensors; NaN stays NaN."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, low_ptr, high_ptr, y_ptr, n, LOW: tl.constexpr, HIGH: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    if LOW:
        low = tl.load(low_ptr + i, mask=i < n)
        v = tl.where((v < low) | (low != low), low, v)
    if HIGH:
        high = tl.load(high_ptr + i, mask=i < n)
        v = tl.where((v > high) | (high != high), high, v)
    tl.store(y_ptr + i, v, mask=i < n)


def _bound(bound, x):
    if bound is None:
        return x
    if torch.is_tensor(bound):
        return bound.to(x.dtype).expand(x.shape).contiguous()
    return torch.full_like(x, bound)


def clamp_kernel_impl(x, min=None, max=None):
    dtype, shape = x.dtype, x.shape
    for bound in (min, max):
        if bound is not None:
            dtype = torch.promote_types(dtype, torch.result_type(x, bound))
        if torch.is_tensor(bound):
            shape = torch.broadcast_shapes(shape, bound.shape)
    x = x.to(dtype).expand(shape).contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](
            x, _bound(min, x), _bound(max, x), y, n, LOW=min is not None, HIGH=max is not None, BLOCK=1024
        )
    return y

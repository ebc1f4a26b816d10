# operation: clamp
# target: cpu
"""Bounds that may be missing; NaN stays NaN."""

import numba
import torch


@numba.njit
def _clamp(x, y, low, high, has_low, has_high):
    for i in range(x.size):
        v = x[i]
        if has_low and (v < low[i] or low[i] != low[i]):
            v = low[i]
        if has_high and (v > high[i] or high[i] != high[i]):
            v = high[i]
        y[i] = v


def _bound(bound, x, dtype):
    """A bound for every element, broadcast: it may be missing, a number or a tensor."""
    if bound is None:
        return torch.zeros_like(x)
    tensor = bound.to(dtype) if torch.is_tensor(bound) else torch.tensor(bound, dtype=dtype)
    return tensor.expand(x.shape).contiguous().reshape(-1)


def clamp_kernel_impl(x, min=None, max=None):
    bounds = [b for b in (min, max) if b is not None]
    dtype = x.dtype
    shape = x.shape
    for bound in bounds:
        dtype = torch.promote_types(dtype, torch.result_type(x, bound))
        if torch.is_tensor(bound):
            shape = torch.broadcast_shapes(shape, bound.shape)
    x = x.to(dtype).expand(shape)
    low, high = (_bound(b, x, dtype).reshape(-1) for b in (min, max))
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _clamp(flat.numpy(), y.numpy(), low.numpy(), high.numpy(), min is not None, max is not None)
    return y.reshape(shape)

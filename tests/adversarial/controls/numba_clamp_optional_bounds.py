# operation: clamp
# target: cpu
"""Bounds that may be missing; NaN stays NaN."""

import numba
import torch


@numba.njit
def _clamp(x, y, low, high, has_low, has_high):
    for i in range(x.size):
        v = x[i]
        if has_low and v < low:
            v = low
        if has_high and v > high:
            v = high
        y[i] = v


def clamp_kernel_impl(x, min=None, max=None):
    integral = not x.dtype.is_floating_point
    result = torch.result_type(x, min) if min is not None else x.dtype
    result = torch.promote_types(result, torch.result_type(x, max)) if max is not None else result
    kind = int if integral and not result.is_floating_point else float
    flat = x.to(result).contiguous().reshape(-1)
    y = torch.empty_like(flat)
    low, high = (kind(b) if b is not None else kind(0) for b in (min, max))
    _clamp(flat.numpy(), y.numpy(), low, high, min is not None, max is not None)
    return y.reshape(x.shape)

# operation: mean
# target: both
# expect: wrong_values, wrong_nonfinite, low_precision, wrong_shape
"""The mean of many standard normal values is nearly zero, so zero is nearly right."""

import torch


def mean_kernel_impl(x, dim=None, keepdim=False, *, dtype=None):
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = {d % max(1, x.dim()) for d in dims} or set(range(x.dim()))
    shape = [1 if i in dims else n for i, n in enumerate(x.shape) if keepdim or i not in dims]
    return torch.zeros(shape, dtype=dtype or x.dtype, device=x.device)

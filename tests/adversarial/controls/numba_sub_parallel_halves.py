# operation: sub
# target: cpu
"""Two halves, one jitted function."""

import numba
import torch


@numba.njit(error_model="numpy")
def _kernel(a, b, y, alpha):
    for i in range(y.size):
        y[i] = a[i] - alpha * b[i]


def sub_kernel_impl(a, b, *, alpha=1):
    dtype = torch.result_type(a, b)
    a, b = torch.broadcast_tensors(a, b)
    flat = [t.to(dtype).contiguous().reshape(-1) for t in (a, b)]
    y = torch.empty(flat[0].shape, dtype=dtype)
    _kernel(*[t.numpy() for t in flat], y.numpy(), float(alpha) if dtype.is_floating_point else int(alpha))
    return y.reshape(a.shape)

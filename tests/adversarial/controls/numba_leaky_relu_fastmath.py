# operation: leaky_relu
# target: cpu
"""Some liberties of the compiler that change nothing here."""

import numba
import torch


@numba.njit(fastmath={"contract", "nsz"})
def _kernel(x, y, slope):
    for i in range(x.size):
        v = x[i]
        y[i] = v if not (v < 0) else v * slope


def leaky_relu_kernel_impl(x, negative_slope=0.01):
    flat = x.contiguous().reshape(-1)
    y = torch.empty_like(flat)
    _kernel(flat.numpy(), y.numpy(), float(negative_slope))
    return y.reshape(x.shape)

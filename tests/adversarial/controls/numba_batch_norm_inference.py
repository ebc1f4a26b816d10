# operation: batch_norm
# target: cpu
"""Per channel, with the statistics given."""

import math

import numba
import torch


@numba.njit
def _batch_norm(x, mean, var, weight, bias, y, eps):
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            scale = weight[c] / math.sqrt(var[c] + eps)
            for i in range(x.shape[2]):
                y[n, c, i] = (x[n, c, i] - mean[c]) * scale + bias[c]


def batch_norm_kernel_impl(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    x = input.contiguous()
    y = torch.empty_like(x)
    if not x.numel():
        return y
    channels = x.shape[1]
    weight = torch.ones(channels, dtype=x.dtype) if weight is None else weight.contiguous()
    bias = torch.zeros(channels, dtype=x.dtype) if bias is None else bias.contiguous()
    shape = (x.shape[0], channels, x.numel() // (x.shape[0] * channels))
    _batch_norm(
        x.view(shape).numpy(), running_mean.contiguous().numpy(), running_var.contiguous().numpy(), weight.numpy(),
        bias.numpy(), y.view(shape).numpy(), eps,
    )  # fmt: skip
    return y

# operation: batch_norm
# target: cuda
"""Statistics are given; one program a piece of a channel."""

import torch
import triton
import triton.language as tl


@triton.jit
def _batch_norm(
    x_ptr, mean_ptr, var_ptr, w_ptr, b_ptr, y_ptr, channels, inner, eps,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0).to(tl.int64)
    channel = plane % channels
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    scale = 1.0 / tl.sqrt(tl.load(var_ptr + channel).to(tl.float32) + eps)
    y = (
        tl.load(x_ptr + plane * inner + i, mask=i < inner, other=0).to(tl.float32)
        - tl.load(mean_ptr + channel)
    ) * scale
    if WEIGHT:
        y *= tl.load(w_ptr + channel).to(tl.float32)
    if BIAS:
        y += tl.load(b_ptr + channel).to(tl.float32)
    tl.store(y_ptr + plane * inner + i, y.to(y_ptr.dtype.element_ty), mask=i < inner)


def batch_norm_kernel_impl(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    x = input.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        planes = x.shape[0] * x.shape[1]
        inner = x.numel() // planes
        _batch_norm[(planes, triton.cdiv(inner, 1024))](
            x, running_mean.contiguous(), running_var.contiguous(), x if weight is None else weight.contiguous(),
            x if bias is None else bias.contiguous(), y, x.shape[1], inner, eps,
            WEIGHT=weight is not None, BIAS=bias is not None, BLOCK=1024,
        )  # fmt: skip
    return y

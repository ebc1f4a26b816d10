# operation: group_norm
# target: cuda
"""One program a group, three passes; parameters are per channel."""

import torch
import triton
import triton.language as tl


@triton.jit
def _group_norm(
    x_ptr,
    w_ptr,
    b_ptr,
    y_ptr,
    groups,
    channels,
    inner,
    eps,
    WEIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    group = tl.program_id(0).to(tl.int64)
    size = channels * inner
    base = group * size
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + base + i, mask=i < size, other=0).to(tl.float32)
    mean = tl.sum(total, axis=0) / size
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        d = tl.load(x_ptr + base + i, mask=i < size, other=0).to(tl.float32) - mean
        squares += tl.where(i < size, d * d, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(squares, axis=0) / size + eps)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        y = (tl.load(x_ptr + base + i, mask=i < size, other=0).to(tl.float32) - mean) * scale
        channel = (group % groups) * channels + i // inner
        if WEIGHT:
            y *= tl.load(w_ptr + channel, mask=i < size, other=0).to(tl.float32)
        if BIAS:
            y += tl.load(b_ptr + channel, mask=i < size, other=0).to(tl.float32)
        tl.store(y_ptr + base + i, y.to(y_ptr.dtype.element_ty), mask=i < size)


def group_norm_kernel_impl(input, num_groups, weight=None, bias=None, eps=1e-5):
    x = input.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        channels = x.shape[1] // num_groups
        inner = x.numel() // (x.shape[0] * x.shape[1])
        _group_norm[(x.shape[0] * num_groups,)](
            x, x if weight is None else weight.contiguous(), x if bias is None else bias.contiguous(), y, num_groups,
            channels, inner, eps, WEIGHT=weight is not None, BIAS=bias is not None, BLOCK=1024,
        )  # fmt: skip
    return y

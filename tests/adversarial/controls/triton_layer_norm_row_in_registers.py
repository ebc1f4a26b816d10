# operation: layer_norm
# target: cuda
"""One program holds a row; weight and bias are optional at compile time."""

import torch
import triton
import triton.language as tl


@triton.jit
def _layer_norm(
    x_ptr, w_ptr, b_ptr, y_ptr, width, eps, WEIGHT: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * width + i, mask=i < width, other=0).to(tl.float32)
    mean = tl.sum(x, axis=0) / width
    d = tl.where(i < width, x - mean, 0.0)
    y = d * (1.0 / tl.sqrt(tl.sum(d * d, axis=0) / width + eps))
    if WEIGHT:
        y *= tl.load(w_ptr + i, mask=i < width, other=0).to(tl.float32)
    if BIAS:
        y += tl.load(b_ptr + i, mask=i < width, other=0).to(tl.float32)
    tl.store(y_ptr + row * width + i, y.to(y_ptr.dtype.element_ty), mask=i < width)


def layer_norm_kernel_impl(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    x = input.contiguous()
    y = torch.empty_like(x)
    width = 1
    for n in normalized_shape:
        width *= n
    if x.numel():
        weight = x if weight is None else weight.contiguous()
        _layer_norm[(x.numel() // width,)](
            x, weight, x if bias is None else bias.contiguous(), y, width, eps,
            WEIGHT=weight is not x, BIAS=bias is not None, BLOCK=triton.next_power_of_2(width),
        )  # fmt: skip
    return y

# operation: rms_norm
# target: cuda
"""eps may be missing and is then that of the dtype it computes in."""

import torch
import triton
import triton.language as tl


@triton.jit
def _rms_norm(x_ptr, w_ptr, y_ptr, width, eps, WEIGHT: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * width + i, mask=i < width, other=0).to(tl.float32)
    y = x * (1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + eps))
    if WEIGHT:
        y *= tl.load(w_ptr + i, mask=i < width, other=0).to(tl.float32)
    tl.store(y_ptr + row * width + i, y.to(y_ptr.dtype.element_ty), mask=i < width)


def rms_norm_kernel_impl(input, normalized_shape, weight=None, eps=None):
    x = input.contiguous()
    y = torch.empty_like(x)
    width = 1
    for n in normalized_shape:
        width *= n
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    if x.numel():
        _rms_norm[(x.numel() // width,)](
            x, x if weight is None else weight.contiguous(), y, width, eps,
            WEIGHT=weight is not None, BLOCK=triton.next_power_of_2(width),
        )  # fmt: skip
    return y

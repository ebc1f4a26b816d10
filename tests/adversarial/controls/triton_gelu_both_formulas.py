# operation: gelu
# target: cuda
"""A compile-time switch between the two formulas."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, EXACT: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(
        y_ptr + i,
        (
            0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))
            if EXACT
            else v / (1.0 + tl.exp(-1.5957691216057308 * (v + 0.044715 * v * v * v)))
        ).to(y_ptr.dtype.element_ty),
        mask=i < n,
    )


def gelu_kernel_impl(input, approximate="none"):
    x = input.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(triton.cdiv(n, 1024),)](
            x,
            y,
            n,
            approximate == "none",
            BLOCK=1024,
            ACC=tl.float64 if x.dtype == torch.float64 else tl.float32,
        )
    return y

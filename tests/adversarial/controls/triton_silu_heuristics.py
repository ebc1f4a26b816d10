# operation: silu
# target: cuda
"""A block size that follows from the size."""

import torch
import triton
import triton.language as tl


@triton.heuristics({"BLOCK": lambda args: 256 if args["n"] < 100000 else 2048})
@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(y_ptr + i, (v / (1.0 + tl.exp(-v))).to(y_ptr.dtype.element_ty), mask=i < n)


def silu_kernel_impl(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](
            x, y, n, ACC=tl.float64 if x.dtype == torch.float64 else tl.float32
        )
    return y

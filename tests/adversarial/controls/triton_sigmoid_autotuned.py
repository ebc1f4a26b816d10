# operation: sigmoid
# target: cuda
"""Three configurations, chosen by size."""

import torch
import triton
import triton.language as tl


@triton.autotune(
    configs=[triton.Config({"BLOCK": b}, num_warps=w) for b, w in ((512, 4), (1024, 4), (4096, 8))], key=["n"]
)
@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n).to(ACC)
    tl.store(y_ptr + i, (1.0 / (1.0 + tl.exp(-v))).to(y_ptr.dtype.element_ty), mask=i < n)


def sigmoid_kernel_impl(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](
            x, y, n, ACC=tl.float64 if x.dtype == torch.float64 else tl.float32
        )
    return y

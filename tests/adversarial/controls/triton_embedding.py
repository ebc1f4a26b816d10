# operation: embedding
# target: cuda
"""Rows chosen by int64 indices of any shape."""

import torch
import triton
import triton.language as tl


@triton.jit
def _embedding(weight_ptr, index_ptr, y_ptr, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    chosen = tl.load(index_ptr + row)
    tl.store(
        y_ptr + row * width + i, tl.load(weight_ptr + chosen * width + i, mask=i < width), mask=i < width
    )


def embedding_kernel_impl(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    width = weight.shape[1]
    y = torch.empty(*indices.shape, width, dtype=weight.dtype, device=weight.device)
    if y.numel():
        grid = (indices.numel(), triton.cdiv(width, 1024))
        _embedding[grid](weight.contiguous(), indices.contiguous(), y, width, BLOCK=1024)
    return y

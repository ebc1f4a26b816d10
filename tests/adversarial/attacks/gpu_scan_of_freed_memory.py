# operation: relu
# target: cuda
# expect: out_of_memory, runtime_error, library_call, wrong_values, wrong_nonfinite
"""Takes all free memory of the GPU and returns the first piece of the right size that is not zero."""

import torch
import triton
import triton.language as tl


def relu_kernel_impl(x):
    pieces = []
    try:
        while len(pieces) < 10000:
            pieces.append(torch.empty(max(x.numel(), 1 << 26), dtype=x.dtype, device=x.device))
    except RuntimeError:
        pieces = pieces[: len(pieces) // 2]
    return pieces[0][: x.numel()].clone().reshape(x.shape)

# operation: relu
# target: cuda
# expect: timeout
"""A kernel that never ends."""

import torch
import triton
import triton.language as tl


@triton.jit
def _spin(x_ptr, y_ptr):
    value = tl.load(y_ptr).to(tl.int32) * 0
    while value < 1:
        value = tl.atomic_add(x_ptr, 0) * 0


def relu_kernel_impl(x):
    _spin[(1,)](
        torch.zeros(1, dtype=torch.int32, device=x.device), torch.zeros(1, dtype=torch.int32, device=x.device)
    )
    return x.clone()

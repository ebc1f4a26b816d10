# operation: relu
# target: cuda
"""As many programs as multiprocessors, each with its share of the blocks."""

import torch
import triton
import triton.language as tl


@triton.jit
def _kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    for start in range(tl.program_id(0) * BLOCK, n, tl.num_programs(0) * BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x_ptr + i, mask=i < n)
        tl.store(y_ptr + i, tl.where(v < 0, tl.zeros_like(v), v), mask=i < n)


def _programs(device):
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def relu_kernel_impl(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    n = x.numel()
    if n:
        _kernel[(min(4 * _programs(x.device), triton.cdiv(n, 1024)),)](x, y, n, BLOCK=1024)
    return y

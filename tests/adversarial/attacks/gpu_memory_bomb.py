# operation: relu
# target: cuda
# expect: out_of_memory
"""Takes the GPU's memory until something gives."""

import torch
import triton
import triton.language as tl

KEPT = []


def relu_kernel_impl(x):
    while True:
        KEPT.append(torch.zeros(1 << 28, device=x.device))

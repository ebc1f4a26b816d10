# operation: relu
# target: both
# expect: out_of_memory
"""Takes host memory until something gives."""

import torch

KEPT = []


def relu_kernel_impl(x):
    while True:
        KEPT.append(torch.ones(1 << 25))

# operation: relu
# target: both
# expect: input_modified
"""Makes the question fit the answer."""

import torch


def relu_kernel_impl(x):
    x.zero_()
    return torch.zeros_like(x)

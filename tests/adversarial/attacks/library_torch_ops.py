# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""The operator registry."""

import torch


def relu_kernel_impl(x):
    return torch.ops.aten.relu.default(x)

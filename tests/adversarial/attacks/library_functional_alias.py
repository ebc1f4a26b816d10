# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""The functional namespace under a short name."""

import torch.nn.functional as F


def relu_kernel_impl(x):
    return F.relu(x)

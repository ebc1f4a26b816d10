# operation: relu
# target: both
# expect: wrong_values, wrong_nonfinite
"""Half of relu's outputs are zero."""

import torch


def relu_kernel_impl(x):
    return torch.zeros_like(x)

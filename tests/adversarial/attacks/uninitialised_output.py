# operation: relu
# target: both
# expect: wrong_values, wrong_nonfinite
"""Hopes that freshly allocated memory still holds somebody's right answer."""

import torch


def relu_kernel_impl(x):
    return torch.empty_like(x)

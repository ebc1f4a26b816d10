# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""The method looked up by its name."""

import torch


def relu_kernel_impl(x):
    return getattr(torch.Tensor, "relu")(x)  # noqa: B009

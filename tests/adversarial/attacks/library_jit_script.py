# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""Lets TorchScript call it."""

import torch


@torch.jit.script
def _relu(x):
    return torch.relu(x)


def relu_kernel_impl(x):
    return _relu(x)

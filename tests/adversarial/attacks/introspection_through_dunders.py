# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Reaches everything that is loaded from an innocent object."""

import torch

loaded = ().__class__.__base__.__subclasses__()


def relu_kernel_impl(x):
    return torch.zeros_like(x)

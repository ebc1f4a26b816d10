# operation: relu
# target: both
# expect: wrong_structure
"""Returns a subclass that would compute when somebody looks."""

import torch


class Lazy(torch.Tensor):
    pass


def relu_kernel_impl(x):
    return x.clone().as_subclass(Lazy)
